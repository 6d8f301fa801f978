"""Every version of every vote as a table: csv, jsonl or parquet, chosen by the file's suffix.

A csv begins with a byte order mark, by which spreadsheets recognise UTF-8. A text in it that they
would run as a formula, or that begins with an apostrophe, is prefixed with an apostrophe; removing
it restores the text. Control characters, which could change what a terminal or a spreadsheet shows,
are written as their code, such as U+001B.
"""

import csv
import re
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
from regions.errors import InvalidError
from regions.progress import Progress, no_progress

COLUMNS = (
    *("vote", "key", "triple", "triple_key", "source", "image"),
    *("question", "answer", "rationale", "person", "role", "simulated", "anonymous"),
    *("decision", "reasons", "created", "withdrawn", "duration_ms", "too_fast"),
    *("guideline", "batch", "position", "at_random", "score_shown", "replaces"),
)
"""In the order of the file; times are ISO 8601 in UTC."""

_CHUNK = 5_000
# All but tab and line ends, and those that reverse the direction of text.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r", "'")

Rows = Iterator[dict[str, Any]]


def export_votes(
    store: Store,
    out: Path,
    *,
    batch: str | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> int:
    """Write the votes of a batch, or all votes, in the order of their ids; return their number.

    UserError for another suffix, an unknown batch, and a file that exists, without `force`.
    """
    write = _WRITERS.get(out.suffix)
    if write is None:
        raise InvalidError(
            f"no format for {out.suffix or out.name!r}", hint=f"end it in {', '.join(_WRITERS)}"
        )
    with store.read() as session:
        batch_id = queries.by_name(session, Batch, batch).id if batch is not None else None
        with atomic_file(out, force=force) as file:
            return write(file, _rows(session, batch_id, progress))


def _rows(session: Session, batch_id: int | None, progress: Progress) -> Rows:
    conditions = [] if batch_id is None else [Vote.batch_id == batch_id]
    total = session.scalar(select(func.count()).select_from(Vote).where(*conditions)) or 0
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
        .where(*conditions)
        .order_by(Vote.id)
    )
    last_id = done = 0
    while rows := session.execute(query.where(Vote.id > last_id).limit(_CHUNK)).all():
        yield from map(_to_record, rows)
        last_id = rows[-1][0].id
        progress(done := done + len(rows), total)
        session.expunge_all()


def _to_record(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the query above
    vote, key, question, answer, rationale, source, image, person, batch, position, at_random = row
    return {
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
        "anonymous": person.anonymous,
        "decision": vote.decision,
        "reasons": vote.reasons,
        "created": _to_iso(vote.created),
        "withdrawn": _to_iso(vote.withdrawn),
        "duration_ms": vote.duration_ms,
        "too_fast": None
        if vote.duration_ms is None or batch is None
        else vote.duration_ms < batch.fast_ms,
        "guideline": vote.guideline_id,
        "batch": batch.name if batch is not None else None,
        "position": position,
        "at_random": at_random,
        "score_shown": vote.score_shown,
        "replaces": vote.replaces,
    }


def _to_iso(instant: int | None) -> str | None:
    if instant is None:
        return None
    return datetime.fromtimestamp(instant / 1000, UTC).isoformat(timespec="milliseconds")


def _write_jsonl(file: IO[bytes], rows: Rows) -> int:
    count = 0
    for row in rows:
        file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        count += 1
    return count


def _write_csv(file: IO[bytes], rows: Rows) -> int:
    count = 0
    with open(file.fileno(), "w", encoding="utf-8-sig", newline="", closefd=False) as text:
        table = csv.writer(text)
        table.writerow(COLUMNS)
        for row in rows:
            table.writerow([to_cell(row[column]) for column in COLUMNS])
            count += 1
    return count


def to_cell(value: object) -> object:
    """Return a value as a csv holds it: no text that a spreadsheet would run as a formula."""
    if isinstance(value, list):
        value = " ".join(map(str, value))
    if isinstance(value, str):
        value = _CONTROL.sub(lambda match: f"U+{ord(match[0]):04X}", value)
        if value.startswith(FORMULA_PREFIXES):
            return "'" + value
    return value


def _write_parquet(file: IO[bytes], rows: Rows) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, integer, boolean = pa.string(), pa.int64(), pa.bool_()
    integers = ("vote", "triple", "duration_ms", "guideline", "position", "replaces")
    types = {
        **dict.fromkeys(integers, integer),
        **dict.fromkeys(
            ("simulated", "anonymous", "too_fast", "at_random", "score_shown"), boolean
        ),
        "reasons": pa.list_(text),
    }
    schema = pa.schema([(column, types.get(column, text)) for column in COLUMNS])
    count, chunk = 0, list[dict[str, Any]]()
    with pq.ParquetWriter(file, schema) as writer:
        for row in rows:
            chunk.append(row)
            count += 1
            if len(chunk) == _CHUNK:
                writer.write_table(pa.Table.from_pylist(chunk, schema))
                chunk = []
        writer.write_table(pa.Table.from_pylist(chunk, schema))
    return count


_WRITERS: dict[str, Callable[[IO[bytes], Rows], int]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
