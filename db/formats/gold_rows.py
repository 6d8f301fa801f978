"""Gold as a table, csv or jsonl: the correct decision about a triple, and why.

    triple,decision,reasons,note,training_item
    teacher-7,reject,wrong_answer,the hat is not there,yes

`triple` is a triple's key in the store, or its id in the file that it was imported from; with
`triple_key`, only the key. Training items are for qualification rounds.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from db.formats import rows
from db.formats.lskd import Label, parse_decision
from db.formats.record_tables import Columns, read_records
from db.formats.rows import ImportContext, RowRejection
from db.formats.vote_rows import parse_reasons
from db.reading.decoding import InvalidRowError, RecordDecoder
from db.schema import Decision, Reason

_COLUMNS = Columns(
    required="decision",
    numbers=frozenset({"decision"}),
    booleans=frozenset({"training_item", "is_training_item"}),
)


class GoldRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The correct decision as read; `triple` identifies its triple."""

    line: int
    triple: str
    decision: Decision
    reasons: list[Reason]
    note: str
    is_training_item: bool


class _Record(msgspec.Struct, gc=False):
    decision: Label
    triple_key: str | None = None
    triple: str | int | None = None
    reasons: str | list[str] = []
    note: str | None = None
    training_item: bool = False
    is_training_item: bool = False


_DECODER = RecordDecoder(_Record)


def read(file: Path, context: ImportContext) -> Iterator[GoldRow | RowRejection]:
    """Yield the rows of a file; UserError if it cannot be read. Lines are numbered from 1."""
    for line, record in read_records(file, _COLUMNS):
        try:
            yield _row(_DECODER.decode_any(record, context.notes), line, context)
        except InvalidRowError as error:
            yield RowRejection(line, error.field, error.reason)


def _row(record: _Record, line: int, context: ImportContext) -> GoldRow:
    triple = record.triple_key or record.triple
    if triple is None:
        raise InvalidRowError("triple", "missing")
    decision = parse_decision(record.decision, context.accept_means, "decision")
    reasons = parse_reasons(record.reasons)
    if reasons and decision != "reject":
        raise InvalidRowError("reasons", "only a rejection has reasons")
    return GoldRow(
        line,
        rows.check_text(str(triple), "triple"),
        decision,
        reasons,
        rows.check_optional(record.note, "note"),
        record.training_item or record.is_training_item,
    )
