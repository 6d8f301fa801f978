"""Files in and records out for scripts."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.crowd.progress import get_batch
from db.labelling.labels import majority_labels
from db.schema import Person, Source, Triple, Vote
from db.store.session import Store
from db.transfer.importing import import_file
from regions.errors import InvalidError, NotFoundError

MAX_UPLOAD_BYTES = 1_000_000_000
"""Bytes of a file that a script may send."""


async def save_upload(stream: AsyncIterator[bytes], file: Path) -> None:
    """Write what a client sends; UserError if it is too much."""
    size = 0
    with file.open("wb") as out:
        async for piece in stream:
            size += len(piece)
            if size > MAX_UPLOAD_BYTES:
                raise InvalidError("the file is too large", hint="import it with `lskd import`")
            out.write(piece)


def import_rows(
    store: Store,
    format_: Literal["lskd", "jsonl"],
    file: Path,
    source: str,
    accept_means: str | None,
) -> dict[str, Any]:
    """Import a file about the images of a source; where they lie was said when it came in."""
    with store.read() as session:
        found = session.scalar(select(Source).where(Source.name == source))
        if found is None:
            known = ", ".join(session.scalars(select(Source.name).order_by(Source.name)))
            raise NotFoundError(
                f"no source named {source[:100]!r}",
                hint=f"use one of {known}, or import its images with `lskd import`",
            )
        root = found.root
    report = import_file(store, format_, file, Path(root), source=source, accept_means=accept_means)
    return report.as_dict()


def vote_page(session: Session, batch: str | None, after: int, limit: int) -> dict[str, Any]:
    """Votes with a larger id than `after`, every version of them, oldest first."""
    fields = (
        *("id", "key", "triple_id", "batch_id", "decision", "reasons", "duration_ms"),
        *("guideline_id", "score_shown", "replaces", "created", "withdrawn"),
    )
    query = (
        select(Vote, Person.name, Triple.key)
        .join(Person, Person.id == Vote.person_id)
        .join(Triple, Triple.id == Vote.triple_id)
        .where(Vote.id > after)
        .order_by(Vote.id)
        .limit(limit)
    )
    if batch is not None:
        query = query.where(Vote.batch_id == get_batch(session, batch).id)
    rows = [
        {field: getattr(vote, field) for field in fields} | {"person": name, "triple_key": key}
        for vote, name, key in session.execute(query)
    ]
    return {"votes": rows, "next": rows[-1]["id"] if len(rows) == limit else None}


def label_page(session: Session, after: int, limit: int, *, simulated: bool) -> dict[str, Any]:
    """The labels of triples with a larger id than `after`, by id."""
    voted = select(Vote.triple_id).where(Vote.withdrawn.is_(None), Vote.triple_id > after)
    ids = session.scalars(voted.distinct().order_by(Vote.triple_id).limit(limit)).all()
    found = majority_labels(session, simulated=simulated, triple_ids=ids)
    rows = [
        {
            "triple_id": label.triple_id,
            "accept": label.accept,
            "votes": label.votes,
            "accepts": label.accepts,
            "qa": label.qa,
            "rationale": label.rationale,
        }
        for _, label in sorted(found.items())
    ]
    return {"labels": rows, "next": ids[-1] if len(ids) == limit else None}
