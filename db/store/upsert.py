"""INSERT statements that handle conflicts with existing rows, for both databases."""

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.schema import Base


def dialect_insert(session: Session, table: type[Base]) -> Any:  # noqa: ANN401 - one of two types
    """Return the INSERT of the session's database, which has `on_conflict_do_nothing` and so on."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    return dialect.insert(table)
