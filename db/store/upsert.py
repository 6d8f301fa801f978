"""Inserts that bear what is there already: each database has a spelling of its own."""

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.schema import Base


def dialect_insert(session: Session, table: type[Base]) -> Any:  # noqa: ANN401 - one of two types
    """An INSERT of the session's database, which knows `on_conflict_do_nothing` and its like."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    return dialect.insert(table)
