"""Store imported rows: a record that already exists, by its natural key, stays as it is.

Plain SQL with tuples, since the ORM is too slow for a million rows.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import astuple
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.formats.llava import without_image_token
from db.formats.rows import InstructionRow, Row, RowRejection
from db.images.image_files import Inspection
from db.schema import Run, Source
from db.store import keys
from db.store.clock import now
from db.transfer.driver_sql import insert_new, select_in
from db.transfer.image_writer import ImageWriter, StoredImage, renumbered

_KINDS = (
    "images",
    "regions",
    "verbalizations",
    "instructions",
    "triples",
    "votes",
    "scores",
)


class StoreWriter:
    """Stores the rows of one import run, and counts the new records."""

    def __init__(self, session: Session, source: str, root: str, run_id: int) -> None:
        record = session.scalar(select(Source).where(Source.name == source))
        if record is None:
            record = Source(name=source, root=root)
            session.add(record)
            session.flush()
        self._run_id = run_id
        self._images = ImageWriter(session, record)
        self._new: Counter[str] = Counter()
        self._external_runs: dict[str, int | None] = {}
        _enlarge_cache(session)

    def new_counts(self) -> dict[str, int]:
        """Return how many records of each kind are new."""
        return {kind: self._new[kind] for kind in _KINDS}

    def notes(self) -> dict[str, int]:
        """Return what users should know about the stored rows."""
        copies = self._new["image_names"]
        note = "files with the bytes of another image: one image under both names"
        return {note: copies} if copies else {}

    def write(
        self, session: Session, rows: Sequence[Row], inspections: Mapping[str, Inspection]
    ) -> list[RowRejection]:
        """Store what is new in these rows; return rejections of rows that contradict the store.

        `inspections` by name are of images whose files were read.
        """
        insert = partial(self._insert, session)
        further = [
            Row(row.line, image.name, image.size, [], orientation=image.orientation)
            for row in rows
            for image in row.further_images()
        ]
        images, reasons = self._images.write(session, insert, [*rows, *further], inspections)
        changed = [
            RowRejection(row.line, "image", reasons[row.image])
            for row in rows
            if row.image in reasons
        ]
        rows = [row for row in rows if row.image not in reasons]
        rows, rejections = self._regions(session, rows, images)
        rejections += changed
        self._texts(session, rows, images)
        self._instructions(session, rows, images)
        triple_keys = self._triples(session, rows, images)
        if any(row.votes or row.scores for row in rows):
            ids = self._triple_ids(session, sorted({image.id for image in images.values()}))
            rows_with_ids = [(row, ids[key]) for row, key in triple_keys]
            self._votes(session, rows_with_ids)
            self._scores(session, rows_with_ids)
        return rejections

    def _insert(
        self, session: Session, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        self._new[table] += insert_new(session, table, columns, rows)

    def _regions(
        self, session: Session, rows: Sequence[Row], images: Mapping[str, StoredImage]
    ) -> tuple[list[Row], list[RowRejection]]:
        """Insert new regions; reject rows with a region that has another box in the store."""
        boxes = _stored_boxes(session, sorted({image.id for image in images.values()}))
        accepted, rejections, new = [], [], []
        others = {n for n, image in images.items() if not self._images.is_own_name(n, image)}
        by_image = _grouped(boxes) if others else {}
        for row in rows:
            image_id = images[row.image].id
            if row.image in others:
                row = renumbered(row, by_image.get(image_id, {}))  # noqa: PLW2901
            moved = next(
                (r[0] for r in row.regions if boxes.get((image_id, r[0]), r[1:5]) != r[1:5]), None
            )
            if moved is not None:
                reason = f"region [{moved}] has another box in the store"
                rejections.append(RowRejection(row.line, "regions", reason))
                continue
            accepted.append(row)
            for region in row.regions:
                key = image_id, region[0]
                if key not in boxes:
                    boxes[key] = region[1:5]
                    if others:
                        by_image.setdefault(image_id, {})[region[0]] = region[1:5]
                    new.append((image_id, *region))
        self._insert(
            session,
            "regions",
            ("image_id", "number", "x1", "y1", "x2", "y2", "polygons", "label"),
            new,
        )
        return accepted, rejections

    def _texts(
        self, session: Session, rows: Sequence[Row], images: Mapping[str, StoredImage]
    ) -> None:
        self._insert(
            session,
            "verbalizations",
            (
                *("key", "image_id", "region_number", "kind", "text"),
                *("answer", "model", "version", "run_id"),
            ),
            [
                (
                    keys.digest(
                        *("verbalization", images[row.image].source, images[row.image].name),
                        *astuple(text),
                    ),
                    images[row.image].id,
                    *(text.region, text.kind, text.text, text.answer, text.model, text.version),
                    self._run_id,
                )
                for row in rows
                for text in row.texts
            ],
        )

    def _instructions(
        self, session: Session, rows: Sequence[Row], images: Mapping[str, StoredImage]
    ) -> None:
        self._insert(
            session,
            "instructions",
            (
                *("key", "image_id", "kind", "turns", "model", "prompt_version", "run_id"),
                *("external_id", "further_images"),
            ),
            [
                (
                    _instruction_key(instruction, images[row.image]),
                    images[row.image].id,
                    instruction.kind,
                    json.dumps(instruction.turns),
                    instruction.model,
                    "",
                    self._run_id,
                    instruction.external_id,
                    json.dumps([images[image.name].id for image in instruction.further_images]),
                )
                for row in rows
                for instruction in row.instructions
            ],
        )

    def _triples(
        self, session: Session, rows: Sequence[Row], images: Mapping[str, StoredImage]
    ) -> list[tuple[Row, str]]:
        """Insert new triples; return the rows that have one, with its key."""
        keyed, new = [], []
        for row in rows:
            if row.triple is None:
                continue
            triple, image = row.triple, images[row.image]
            texts = triple.question, triple.answer, triple.rationale
            visible = triple.visible_regions
            name = image.source, image.name
            key = keys.triple_key(name, texts, visible, triple.source)
            keyed.append((row, key))
            provenance = triple.kind, triple.source, triple.model, triple.prompt_version
            ids = self._run_id, triple.external_id
            new.append((key, image.id, *texts, str(visible), *provenance, *ids))
        self._insert(
            session,
            "triples",
            (
                *("key", "image_id", "question", "answer", "rationale", "visible_regions"),
                *("kind", "source", "model", "prompt_version", "run_id", "external_id"),
            ),
            new,
        )
        return keyed

    def _triple_ids(self, session: Session, image_ids: Sequence[int]) -> dict[str, int]:
        """Return the ids of the triples of these images by key."""
        query = "SELECT key, id FROM triples WHERE image_id"
        return dict(select_in(session, query, image_ids))

    def _votes(self, session: Session, rows: Sequence[tuple[Row, int]]) -> None:
        names = {vote.person: vote.anonymous for row, _ in rows for vote in row.votes}
        insert_new(
            session,
            "people",
            ("name", "role", "simulated", "anonymous", "created"),
            [
                (name, "annotator", False, anonymous, now())
                for name, anonymous in sorted(names.items())
            ],
        )
        people = _person_ids(session, list(names))
        self._insert(
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
                for row, triple_id in rows
                for vote in row.votes
            ],
        )

    def _scores(self, session: Session, rows: Sequence[tuple[Row, int]]) -> None:
        new = [
            (run_id, triple_id, value)
            for row, triple_id in rows
            for name, value in row.scores
            if (run_id := self._external_run(session, name)) is not None
        ]
        self._insert(session, "scores", ("run_id", "triple_id", "value"), new)

    def _external_run(self, session: Session, name: str) -> int | None:
        """Return the run that holds imported scores of this name; None for one of our own runs."""
        if name not in self._external_runs:
            run = session.scalar(select(Run).where(Run.name == name))
            if run is None:
                run = Run(
                    kind="foreign", name=name, status="done", settings={}, results={}, started=now()
                )
                session.add(run)
                session.flush()
            self._external_runs[name] = run.id if run.kind == "foreign" else None
        return self._external_runs[name]


def reject(session: Session, run_id: int, rejections: Iterable[RowRejection]) -> None:
    """Store why rows of an import run were rejected."""
    columns = "run_id", "line", "field", "reason"
    rows = [(run_id, r.line, r.field, r.reason) for r in rejections]
    insert_new(session, "rejected_rows", columns, rows)


def _instruction_key(instruction: InstructionRow, image: StoredImage) -> str:
    """Return the key of an instruction: the place of `<image>` in a question makes no other."""
    content: list[object] = [instruction.kind, without_image_token(instruction.turns)]
    if instruction.further_images:
        content.append([further.name for further in instruction.further_images])
    return keys.digest("instruction", image.source, image.name, *content)


def _enlarge_cache(session: Session) -> None:
    """Let SQLite keep indexes in memory, since their keys are inserted in random order."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        for pragma in ("cache_size = -65536", "wal_autocheckpoint = 20000"):
            connection.exec_driver_sql(f"PRAGMA {pragma}")


def _stored_boxes(
    session: Session, image_ids: Sequence[int]
) -> dict[tuple[int, int], tuple[float, ...]]:
    """Return the stored boxes by image id and region number."""
    query = "SELECT image_id, number, x1, y1, x2, y2 FROM regions WHERE image_id"
    return {
        (image_id, number): tuple(box)
        for image_id, number, *box in select_in(session, query, image_ids)
    }


def _grouped(
    boxes: Mapping[tuple[int, int], tuple[float, ...]],
) -> dict[int, dict[int, tuple[float, ...]]]:
    """Return boxes by region number, by image id."""
    by_image: dict[int, dict[int, tuple[float, ...]]] = {}
    for (image_id, number), box in boxes.items():
        by_image.setdefault(image_id, {})[number] = box
    return by_image


def _person_ids(session: Session, names: Sequence[str]) -> dict[str, int]:
    """Return the ids of people by name."""
    return dict(select_in(session, "SELECT name, id FROM people WHERE name", names))
