"""Bulk access for scripts: import a file, page through votes and labels."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.web.errors import TooLargeError
from annotator.web.middleware.bodies import too_large
from db.labelling.labels import Label, majority_labels, stored_labels
from db.schema import Batch, Decision, Person, Reason, Source, Triple, Vote
from db.store import queries
from db.store.session import Store
from db.transfer.importing import ImportReport, import_file
from db.transfer.parsing import WITHOUT_IMAGES

ImportFormat = Literal["lskd", "coco", "vcr", "visual-genome", "llava", "jsonl", "votes", "gold"]
"""`db.transfer.parsing.FORMATS`; the uploaded file is one file, which may be compressed."""


@dataclass(frozen=True, slots=True)
class VoteRow:
    """A vote in any state. Times are Unix milliseconds; `withdrawn` is None while it stands."""

    id: int
    key: str
    triple_id: int
    batch_id: int | None
    decision: Decision
    reasons: Sequence[Reason]
    duration_ms: int | None
    guideline_id: int | None
    score_shown: float | None
    replaces: int | None
    created: int
    withdrawn: int | None
    person: str
    triple_key: str


@dataclass(frozen=True, slots=True)
class VotePage:
    """Votes, and the `after` of the next page; None on the last one."""

    votes: list[VoteRow]
    next: int | None


@dataclass(frozen=True, slots=True)
class LabelRow:
    """The label of a triple; `qa` and `rationale` are labels of its parts.

    `probability` is that of acceptance (of majority votes, their share), within `low` and `high`.
    """

    triple_id: int
    accept: bool
    votes: int
    accepts: int
    qa: bool | None
    rationale: bool | None
    probability: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LabelPage:
    """Labels, and the `after` of the next page; None on the last one."""

    labels: list[LabelRow]
    next: int | None


async def save_upload(stream: AsyncIterator[bytes], file: Path, limit: int) -> None:
    """Write a request's body to a file; TooLargeError if it has more than `limit` bytes."""
    size = 0
    with file.open("wb") as out:
        async for chunk in stream:
            size += len(chunk)
            if size > limit:
                raise TooLargeError(too_large(limit), hint="import the file with `lskd import`")
            out.write(chunk)


def import_rows(
    store: Store,
    format_: ImportFormat,
    file: Path,
    source: str,
    accept_means: str | None,
) -> ImportReport:
    """Import rows about the images of an existing source; votes and gold need no source."""
    if format_ in WITHOUT_IMAGES:
        return import_file(store, format_, file, accept_means=accept_means)
    with store.read() as session:
        names = ", ".join(session.scalars(select(Source.name).order_by(Source.name)))
        hint = f"use one of {names}, or import its images with `lskd import`"
        root = queries.by_name(session, Source, source, hint=hint).root
    return import_file(store, format_, file, root, source=source, accept_means=accept_means)


def vote_page(session: Session, batch: str | None, after: int, limit: int) -> VotePage:
    """Votes with an id above `after`, oldest first, including withdrawn ones."""
    query = (
        select(Vote, Person.name, Triple.key)
        .join(Person, Person.id == Vote.person_id)
        .join(Triple, Triple.id == Vote.triple_id)
        .where(Vote.id > after)
        .order_by(Vote.id)
        .limit(limit)
    )
    if batch is not None:
        query = query.where(Vote.batch_id == queries.by_name(session, Batch, batch).id)
    rows = [
        VoteRow(
            id=vote.id,
            key=vote.key,
            triple_id=vote.triple_id,
            batch_id=vote.batch_id,
            decision=vote.decision,
            reasons=vote.reasons,
            duration_ms=vote.duration_ms,
            guideline_id=vote.guideline_id,
            score_shown=vote.score_shown,
            replaces=vote.replaces,
            created=vote.created,
            withdrawn=vote.withdrawn,
            person=name,
            triple_key=key,
        )
        for vote, name, key in session.execute(query)
    ]
    return VotePage(rows, rows[-1].id if len(rows) == limit else None)


def label_page(
    session: Session, after: int, limit: int, *, simulated: bool, run: str | None = None
) -> LabelPage:
    """Labels of triples with an id above `after`, by id: of a label run, or of the majority."""
    if run is not None:
        labels, _ = stored_labels(session, run, after=after, limit=limit)
        rows = [_label_row(label) for label in labels.values()]
        return LabelPage(rows, rows[-1].triple_id if len(rows) == limit else None)
    voted = select(Vote.triple_id).where(Vote.withdrawn.is_(None), Vote.triple_id > after)
    ids = session.scalars(voted.distinct().order_by(Vote.triple_id).limit(limit)).all()
    labels = majority_labels(session, simulated=simulated, triple_ids=ids)
    rows = [_label_row(label) for _, label in sorted(labels.items())]
    return LabelPage(rows, ids[-1] if len(ids) == limit else None)


def _label_row(label: Label) -> LabelRow:
    return LabelRow(**{name: getattr(label, name) for name in LabelRow.__slots__})
