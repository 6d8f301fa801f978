"""Upgrade a store's schema, of any age, to this version with Alembic, in one transaction."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

FOLDER = Path(__file__).parent.parent / "migrations"


def config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration, without an ini file."""
    settings = Config()
    settings.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    settings.attributes["connection"] = connection
    return settings


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Upgrade the store behind `connection` to `revision`; the caller commits."""
    command.upgrade(config(connection), revision)
