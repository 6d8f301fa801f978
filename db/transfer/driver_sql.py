"""SQL for millions of rows, past SQLAlchemy's compiler: it would take most of the time.

SQLite and PostgreSQL share the syntax of `ON CONFLICT DO NOTHING`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy.orm import Session

_MAX_PARAMETERS = 10_000
"""Values in one `IN (...)`; both databases accept about 30,000."""


def insert_new(
    session: Session, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> int:
    """Insert rows that do not exist yet and return their number."""
    if not rows:
        return 0
    placeholders = ", ".join([_placeholder(session)] * len(columns))
    statement = (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({placeholders})"  # noqa: S608 - names come from our modules only
        " ON CONFLICT DO NOTHING"
    )
    return session.connection().exec_driver_sql(statement, list(rows)).rowcount


def select_in(session: Session, query: str, values: Sequence[int | str]) -> Iterator[Any]:
    """Yield the rows in which the last column of a query's condition has one of these values.

    `select_in(session, "SELECT name FROM people WHERE id", [1, 2])` yields the names of two people.
    """
    for chunk in batched(values):
        placeholders = ", ".join([_placeholder(session)] * len(chunk))
        statement = f"{query} IN ({placeholders})"
        yield from session.connection().exec_driver_sql(statement, tuple(chunk))


def batched(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield the values in parts, each of which one `IN (...)` can hold."""
    return (values[i : i + _MAX_PARAMETERS] for i in range(0, len(values), _MAX_PARAMETERS))


def _placeholder(session: Session) -> str:
    return "?" if session.connection().dialect.name == "sqlite" else "%s"
