"""Every version of every vote as a table: csv, jsonl or parquet, by the file's ending.

In csv a text that a spreadsheet would take for a formula gets an apostrophe before it, and so does
one that begins with an apostrophe: taking one away gives the text back.
"""

import csv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import orjson
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.schema import Batch, BatchItem, Image, Person, Source, Triple, Vote
from db.store import queries
from db.store.files import atomic_file
from db.store.session import Store
from regions.errors import UserError
from regions.progress import Progress, no_progress

COLUMNS = (
    *("vote", "key", "triple", "triple_key", "source", "image"),
    *("question", "answer", "rationale", "person", "role", "simulated"),
    *("decision", "reasons", "created", "withdrawn", "duration_ms", "too_fast"),
    *("guideline", "batch", "position", "at_random", "score_shown", "replaces"),
)
"""In the order of the file; times are ISO 8601 in UTC."""

_CHUNK = 5_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")

Rows = Iterator[dict[str, Any]]


def export_votes(
    store: Store,
    out: Path,
    *,
    batch: str | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> int:
    """Write the votes of a batch, or all, in the order they came; how many there were.

    UserError for another ending, an unknown batch, and a file that is there without `force`.
    """
    write = _WRITERS.get(out.suffix)
    if write is None:
        raise UserError(
            f"no format for {out.suffix or out.name!r}", hint=f"end it in {', '.join(_WRITERS)}"
        )
    with store.read() as session, atomic_file(out, force=force) as file:
        return write(file, _rows(session, _batch_id(session, batch), progress))


def _batch_id(session: Session, name: str | None) -> int | None:
    if name is None:
        return None
    return queries.by_name(session, Batch, name).id


def _rows(session: Session, batch_id: int | None, progress: Progress) -> Rows:
    chosen = [] if batch_id is None else [Vote.batch_id == batch_id]
    total = session.scalar(select(func.count()).select_from(Vote).where(*chosen)) or 0
    query = (
        select(
            Vote,
            Triple.key,
            Triple.question,
            Triple.answer,
            Triple.rationale,
            Source.name,
            Image.name,
            Person,
            Batch,
            BatchItem.position,
            BatchItem.at_random,
        )
        .join(Triple, Triple.id == Vote.triple_id)
        .join(Image, Image.id == Triple.image_id)
        .join(Source, Source.id == Image.source_id)
        .join(Person, Person.id == Vote.person_id)
        .outerjoin(Batch, Batch.id == Vote.batch_id)
        .outerjoin(
            BatchItem,
            (BatchItem.batch_id == Vote.batch_id) & (BatchItem.triple_id == Vote.triple_id),
        )
        .where(*chosen)
        .order_by(Vote.id)
    )
    last = done = 0
    while rows := session.execute(query.where(Vote.id > last).limit(_CHUNK)).all():
        for vote, key, question, answer, rationale, source, image, person, batch, *place in rows:
            yield {
                "vote": vote.id,
                "key": vote.key,
                "triple": vote.triple_id,
                "triple_key": key,
                "source": source,
                "image": image,
                "question": question,
                "answer": answer,
                "rationale": rationale,
                "person": person.name,
                "role": person.role,
                "simulated": person.simulated,
                "decision": vote.decision,
                "reasons": vote.reasons,
                "created": _time(vote.created),
                "withdrawn": _time(vote.withdrawn),
                "duration_ms": vote.duration_ms,
                "too_fast": None
                if vote.duration_ms is None or batch is None
                else vote.duration_ms < batch.fast_ms,
                "guideline": vote.guideline_id,
                "batch": batch.name if batch is not None else None,
                "position": place[0],
                "at_random": place[1],
                "score_shown": vote.score_shown,
                "replaces": vote.replaces,
            }
        last = rows[-1][0].id
        progress(done := done + len(rows), total)
        session.expunge_all()


def _time(instant: int | None) -> str | None:
    if instant is None:
        return None
    return datetime.fromtimestamp(instant / 1000, UTC).isoformat(timespec="milliseconds")


def _jsonl(part: IO[bytes], rows: Rows) -> int:
    count = 0
    for row in rows:
        part.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        count += 1
    return count


def _csv(part: IO[bytes], rows: Rows) -> int:
    count = 0
    with open(part.fileno(), "w", encoding="utf-8", newline="", closefd=False) as text:
        table = csv.writer(text)
        table.writerow(COLUMNS)
        for row in rows:
            table.writerow([_cell(row[column]) for column in COLUMNS])
            count += 1
    return count


def _cell(value: object) -> object:
    if isinstance(value, list):
        value = " ".join(map(str, value))
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value


def _parquet(part: IO[bytes], rows: Rows) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, whole, yes = pa.string(), pa.int64(), pa.bool_()
    kinds = {
        **dict.fromkeys(("vote", "triple", "duration_ms", "guideline", "position"), whole),
        **dict.fromkeys(("replaces",), whole),
        **dict.fromkeys(("simulated", "too_fast", "at_random", "score_shown"), yes),
        "reasons": pa.list_(text),
    }
    schema = pa.schema([(column, kinds.get(column, text)) for column in COLUMNS])
    count, chunk = 0, list[dict[str, Any]]()
    with pq.ParquetWriter(part, schema) as writer:
        for row in rows:
            chunk.append(row)
            count += 1
            if len(chunk) == _CHUNK:
                writer.write_table(pa.Table.from_pylist(chunk, schema))
                chunk = []
        writer.write_table(pa.Table.from_pylist(chunk, schema))
    return count


_WRITERS: dict[str, Callable[[IO[bytes], Rows], int]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
