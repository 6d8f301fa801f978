"""Rows into the store: what is known already is found by its natural key, and stays as it is.

Plain SQL with tuples, since a million rows are too many for the ORM. SQLite and PostgreSQL spell
`ON CONFLICT DO NOTHING` alike.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.formats.rows import Row, RowRejection
from db.schema import Image, ImageRegion, Person, Run, Source, Triple
from db.store import keys
from db.store.clock import now

_MOST_AT_ONCE = 10_000
"""Values in one `IN (...)`: both databases take 30,000."""


class StoreWriter:
    """Writes chunks of rows for one import run, and counts what was new."""

    def __init__(self, session: Session, source: str, root: str, run_id: int) -> None:
        found = session.scalar(select(Source).where(Source.name == source))
        if found is None:
            found = Source(name=source, root=root)
            session.add(found)
            session.flush()
        self.source, self.source_id, self.run_id = source, found.id, run_id
        self.root = found.root
        self.new: Counter[str] = Counter()
        _make_room(session)
        self._foreign: dict[str, int | None] = {}

    def write(self, session: Session, rows: Sequence[Row]) -> list[RowRejection]:
        """Store what is new of these rows; those that contradict the store are rejected."""
        images = self._images(session, rows)
        rows, rejected = self._regions(session, rows, images)
        self._texts(session, rows, images)
        self._instructions(session, rows, images)
        triples = self._triples(session, rows, images)
        if any(row.votes or row.scores for row in rows):
            known = self._known(session, sorted(images.values()))
            pairs = [(row, known[key]) for row, key in triples]
            self._votes(session, pairs)
            self._scores(session, pairs)
        return rejected

    def reject(self, session: Session, rejected: Iterable[RowRejection]) -> None:
        """Store why rows were kept out."""
        _insert(
            session,
            "rejected_rows",
            ("run_id", "line", "field", "reason"),
            [(self.run_id, *row) for row in rejected],
        )

    def _images(self, session: Session, rows: Sequence[Row]) -> dict[str, int]:
        first = {row.image: row for row in reversed(rows)}
        self.new["images"] += _insert(
            session,
            "images",
            ("source_id", "name", "width", "height", "title", "author", "licence", "origin"),
            [
                (self.source_id, name, *row.size, "", "", row.licence, "")
                for name, row in first.items()
            ],
        )
        return _ids(session, Image, Image.name, list(first), Image.source_id == self.source_id)

    def _regions(
        self, session: Session, rows: Sequence[Row], images: dict[str, int]
    ) -> tuple[list[Row], list[RowRejection]]:
        """Insert new regions; a row whose region has another box in the store is rejected."""
        boxes: dict[tuple[int, int], tuple[float, ...]] = {}
        columns = ImageRegion.image_id, ImageRegion.number
        values = ImageRegion.x1, ImageRegion.y1, ImageRegion.x2, ImageRegion.y2
        for some in _pieces(sorted(images.values())):
            for image_id, number, *box in session.execute(
                select(*columns, *values).where(ImageRegion.image_id.in_(some))
            ):
                boxes[image_id, number] = tuple(box)
        kept, rejected, new = [], [], []
        for row in rows:
            image_id = images[row.image]
            other = next(
                (r[0] for r in row.regions if boxes.get((image_id, r[0]), r[1:5]) != r[1:5]), None
            )
            if other is not None:
                reason = f"region [{other}] has another box in the store"
                rejected.append(RowRejection(row.line, "regions", reason))
                continue
            kept.append(row)
            for region in row.regions:
                place = image_id, region[0]
                if place not in boxes:
                    boxes[place] = region[1:5]
                    new.append((image_id, *region))
        self.new["regions"] += _insert(
            session,
            "regions",
            ("image_id", "number", "x1", "y1", "x2", "y2", "polygons", "label"),
            new,
        )
        return kept, rejected

    def _texts(self, session: Session, rows: Sequence[Row], images: dict[str, int]) -> None:
        self.new["verbalizations"] += _insert(
            session,
            "verbalizations",
            (
                *("key", "image_id", "region_number", "kind", "text"),
                *("answer", "model", "version", "run_id"),
            ),
            [
                (
                    keys.digest("verbalization", self.source, row.image, *text),
                    images[row.image],
                    text.region,
                    text.kind,
                    *text[2:],
                    self.run_id,
                )
                for row in rows
                for text in row.texts
            ],
        )

    def _instructions(self, session: Session, rows: Sequence[Row], images: dict[str, int]) -> None:
        self.new["instructions"] += _insert(
            session,
            "instructions",
            ("key", "image_id", "kind", "turns", "model", "prompt_version", "run_id"),
            [
                (
                    keys.digest("instruction", self.source, row.image, one.kind, one.turns),
                    images[row.image],
                    one.kind,
                    json.dumps(one.turns),
                    one.model,
                    "",
                    self.run_id,
                )
                for row in rows
                for one in row.instructions
            ],
        )

    def _triples(
        self, session: Session, rows: Sequence[Row], images: dict[str, int]
    ) -> list[tuple[Row, str]]:
        keyed, new = [], []
        for row in rows:
            if row.triple is None:
                continue
            question, answer, rationale, shown, *written = row.triple
            texts = question, answer, rationale
            key = keys.triple_key((self.source, row.image), texts, shown, row.triple.source)
            keyed.append((row, key))
            new.append((key, images[row.image], *texts, str(shown), *written, self.run_id))
        self.new["triples"] += _insert(
            session,
            "triples",
            (
                *("key", "image_id", "question", "answer", "rationale", "visible_regions"),
                *("kind", "source", "model", "prompt_version", "run_id"),
            ),
            new,
        )
        return keyed

    def _known(self, session: Session, image_ids: Sequence[int]) -> dict[str, int]:
        """The triples of these images by their keys."""
        found: dict[str, int] = {}
        for some in _pieces(image_ids):
            rows = session.execute(select(Triple.key, Triple.id).where(Triple.image_id.in_(some)))
            found.update((key, id_) for key, id_ in rows)
        return found

    def _votes(self, session: Session, pairs: Sequence[tuple[Row, int]]) -> None:
        names = {vote.person for row, _ in pairs for vote in row.votes}
        _insert(
            session,
            "people",
            ("name", "role", "simulated", "created"),
            [(name, "annotator", False, now()) for name in sorted(names)],
        )
        people = _ids(session, Person, Person.name, list(names))
        self.new["votes"] += _insert(
            session,
            "votes",
            ("key", "triple_id", "person_id", "decision", "reasons", "created"),
            [
                (
                    keys.digest("imported vote", vote.person, triple_id),
                    triple_id,
                    people[vote.person],
                    vote.decision,
                    json.dumps(vote.reasons),
                    now(),
                )
                for row, triple_id in pairs
                for vote in row.votes
            ],
        )

    def _scores(self, session: Session, pairs: Sequence[tuple[Row, int]]) -> None:
        new = [
            (run_id, triple_id, value)
            for row, triple_id in pairs
            for name, value in row.scores
            if (run_id := self._foreign_run(session, name)) is not None
        ]
        self.new["scores"] += _insert(session, "scores", ("run_id", "triple_id", "value"), new)

    def _foreign_run(self, session: Session, name: str) -> int | None:
        """The run that holds scores of this name; None if one of ours is called so."""
        if name not in self._foreign:
            run = session.scalar(select(Run).where(Run.name == name))
            if run is None:
                run = Run(
                    kind="foreign", name=name, status="done", settings={}, results={}, started=now()
                )
                session.add(run)
                session.flush()
            self._foreign[name] = run.id if run.kind == "foreign" else None
        return self._foreign[name]


def _make_room(session: Session) -> None:
    """Let SQLite keep the indexes in memory: their keys come in no order at all."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        for pragma in ("cache_size = -65536", "wal_autocheckpoint = 20000"):
            connection.exec_driver_sql(f"PRAGMA {pragma}")


def _insert(
    session: Session, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> int:
    """Insert the rows that are not there; how many were new. Names come from this file alone."""
    if not rows:
        return 0
    connection = session.connection()
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    marks = ", ".join([mark] * len(columns))
    statement = (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608 - see above
    )
    return connection.exec_driver_sql(statement, list(rows)).rowcount


def _ids(
    session: Session,
    table: type[Image | Person],
    column: InstrumentedAttribute[str],
    values: Sequence[str],
    *where: ColumnElement[bool],
) -> dict[str, int]:
    """The ids of records by a natural key."""
    found: dict[str, int] = {}
    for some in _pieces(values):
        rows = session.execute(select(column, table.id).where(column.in_(some), *where))
        found.update((key, id_) for key, id_ in rows)
    return found


def _pieces(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[i : i + _MOST_AT_ONCE] for i in range(0, len(values), _MOST_AT_ONCE))
