"""The tables of the project page as csv, and a version that tells whether they have changed."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import text
from sqlalchemy.orm import Session

from annotator.crowd import batch_rows
from annotator.statistics import project as statistics
from annotator.statistics.project import ProjectStatistics
from db.formats.votes import to_cell
from db.store import keys

Table = Literal[
    "annotators", "confusion", "drift", "cost", "batches", "agreement", "hours", "days", "reasons"
]
TABLES: tuple[Table, ...] = get_args(Table)

_TIMES = frozenset({"hour", "day", "start"})
# Each is read from an index or a small table.
_VERSION = text("""
    SELECT (SELECT MAX(id) FROM votes),
           (SELECT MAX(withdrawn) FROM votes WHERE withdrawn IS NOT NULL),
           (SELECT COUNT(*) FROM votes WHERE withdrawn IS NOT NULL),
           (SELECT MAX(id) FROM adjudications), (SELECT MAX(withdrawn) FROM adjudications),
           (SELECT MAX(id) FROM pauses), (SELECT MAX(lifted) FROM pauses),
           (SELECT MAX(id) FROM flags), (SELECT MAX(resolved) FROM flags),
           (SELECT MAX(created) FROM gold), (SELECT COUNT(*) FROM gold)
""")
_BATCHES = text("SELECT id, open, votes_required, price, price_unit FROM batches ORDER BY id")


def version(session: Session) -> str:
    """A text that changes when what the project page shows changes."""
    connection = session.connection()
    batches = [tuple(row) for row in connection.execute(_BATCHES)]
    return keys.digest("project", tuple(connection.execute(_VERSION).one()), batches)


def table_as_csv(session: Session, table: Table, batch: str | None, *, simulated: bool) -> str:
    """A table of the project page; UTF-8 with a byte order mark when it is encoded so."""
    figures = statistics.project_statistics(session, batch, simulated=simulated)
    rows = list(_rows(table, figures, session))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = list(dict.fromkeys(column for row in rows for column in row))
    writer.writerow(columns)
    writer.writerows([to_cell(row.get(column)) for column in columns] for row in rows)
    return out.getvalue()


def _rows(table: Table, figures: ProjectStatistics, session: Session) -> Iterator[dict[str, Any]]:
    if table == "reasons":
        yield from ({"reason": reason, "votes": n} for reason, n in figures.reasons.items())
    elif table == "drift":
        for drift in figures.drift:
            for point in drift.points:
                yield {"person": drift.name or "everybody", **_flat(point)}
    else:
        records: Mapping[str, Iterable[Any]] = {
            "annotators": figures.annotators,
            "confusion": figures.confusion,
            "cost": figures.cost.batches,
            "agreement": figures.agreement,
            "hours": figures.per_hour,
            "days": figures.agreement_over_time,
            "batches": batch_rows.list_batches(session) if table == "batches" else (),
        }
        yield from map(_flat, records[table])


def _flat(record: Any, prefix: str = "") -> dict[str, Any]:  # noqa: ANN401 - a dataclass
    """The fields of a record in one row: those of a rate as `accuracy_value`, `accuracy_low` ..."""
    fields = asdict(record) if is_dataclass(record) and not isinstance(record, type) else record
    row: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            row |= _flat(value, f"{prefix}{name}_")
        elif isinstance(value, tuple):
            row |= {f"{prefix}{name}_low": value[0], f"{prefix}{name}_high": value[1]}
        elif name in _TIMES:
            row[name] = datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="seconds")
        else:
            row[prefix + name] = value
    return row
