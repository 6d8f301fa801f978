"""Votes as a table, csv or jsonl: who decided what about which triple, why, and when.

    triple,annotator,decision,reasons,time
    teacher-7,ann,reject,wrong_answer trivial,2026-03-01T10:00:00Z

`triple` is a triple's key in the store, or its id in the file that it was imported from. The
columns of `lskd export votes` are read too: `triple_key`, `person`, `created`, `duration_ms`,
`simulated`, `anonymous`; withdrawn votes are dropped, which is noted.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from db.formats import rows
from db.formats.lskd import Label, parse_decision
from db.formats.record_tables import Columns, read_records
from db.formats.rows import ImportContext, RowRejection
from db.reading.decoding import InvalidRowError, RecordDecoder
from db.schema import REASONS, Decision, Reason

Time = str | int | float
_MAX_SECONDS = 10**11
"""Numbers below are seconds since 1970, others milliseconds: the year 5138, or 1973."""
_COLUMNS = Columns(
    required="decision",
    numbers=frozenset({"decision", "time", "created", "duration_ms"}),
    booleans=frozenset({"simulated", "anonymous"}),
)


class TripleVote(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A vote as read; `triple` identifies its triple, `created` is in milliseconds since 1970."""

    line: int
    triple: str
    annotator: str
    decision: Decision
    reasons: list[Reason]
    created: int | None
    duration_ms: int | None
    simulated: bool
    anonymous: bool


class _Record(msgspec.Struct, gc=False):
    decision: Label
    triple_key: str | None = None
    triple: str | int | None = None
    annotator: str | None = None
    person: str | None = None
    reasons: str | list[str] = []
    time: Time | None = None
    created: Time | None = None
    withdrawn: Time | None = None
    duration_ms: float | None = None
    simulated: bool = False
    anonymous: bool = False


_DECODER = RecordDecoder(_Record)


def read(file: Path, context: ImportContext) -> Iterator[TripleVote | RowRejection]:
    """Yield the rows of a file; UserError if it cannot be read. Lines are numbered from 1."""
    for line, record in read_records(file, _COLUMNS):
        try:
            vote = _row(_DECODER.decode_any(record, context.notes), line, context)
        except InvalidRowError as error:
            yield RowRejection(line, error.field, error.reason)
            continue
        if vote is None:
            context.notes["withdrawn votes, which were dropped"] += 1
        else:
            yield vote


def _row(record: _Record, line: int, context: ImportContext) -> TripleVote | None:
    """Return the vote of a record; None if it was withdrawn."""
    if record.withdrawn is not None:
        return None
    triple = record.triple_key or record.triple
    if triple is None:
        raise InvalidRowError("triple", "missing")
    annotator = record.annotator or record.person
    if annotator is None:
        raise InvalidRowError("annotator", "missing")
    time = record.created if record.time is None else record.time
    duration = record.duration_ms
    if duration is not None and not 0 <= duration < 2**31:
        raise InvalidRowError("duration_ms", f"not a number of milliseconds: {duration:g}")
    return TripleVote(
        line,
        rows.check_text(str(triple), "triple"),
        rows.check_name(annotator, "annotator"),
        parse_decision(record.decision, context.accept_means, "decision", allow_skip=True),
        parse_reasons(record.reasons),
        None if time is None else _milliseconds(time),
        None if duration is None else int(duration),
        record.simulated,
        record.anonymous,
    )


def parse_reasons(value: str | list[str]) -> list[Reason]:
    """Return the reasons of a record: a list, or names between spaces, commas or semicolons."""
    texts = re.split(r"[\s,;]+", value.strip()) if isinstance(value, str) else value
    reasons = [reason for text in texts for reason in REASONS if reason == text.strip()]
    if len(reasons) < sum(bool(text) for text in texts):
        raise InvalidRowError("reasons", f"not among {', '.join(REASONS)}: {texts!r:.60}")
    return list(dict.fromkeys(reasons))


def _milliseconds(value: Time) -> int:
    """Return a time, ISO 8601 (UTC if it names no zone) or a number, in milliseconds since 1970."""
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value.strip())
            time = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
            value = time.timestamp()
        milliseconds = int(value * 1000 if abs(value) < _MAX_SECONDS else value)
        datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidRowError("time", f"not a time: {value!r:.60}") from error
    return milliseconds
