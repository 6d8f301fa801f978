"""SQLAlchemy engines for stores: URLs, pragmas and settings of each database, connection checks."""

import os
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from regions.errors import InvalidError, UserError

_BUSY_TIMEOUT_MS = 30_000
_STALE_SECONDS = 1.0
"""Idle time after which a connection to a server is tested before use."""
_DISK_FULL = "53100"
"""PostgreSQL's error code."""


def parse_url(url: str) -> URL:
    """Parse a store's URL, where a plain path means SQLite; InvalidError for any other database."""
    try:
        parsed = make_url(url if "://" in url else f"sqlite:///{url}")
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        raise InvalidError("not a store's URL", where=url, hint="try sqlite:///FILE") from error
    if backend not in {"sqlite", "postgresql"}:
        raise InvalidError(f"no support for {backend}", where=url, hint="use sqlite or postgresql")
    if backend == "sqlite" and not parsed.database:
        raise InvalidError("a SQLite store needs a file", where=url, hint="try sqlite:///FILE")
    return parsed


def files_folder(url: URL) -> Path:
    """Return the folder of the store's files: beside SQLite's file, else $LSKD_FOLDER."""
    if url.get_backend_name() == "sqlite":
        return Path(url.database or "").resolve().parent
    return Path(os.environ.get("LSKD_FOLDER", "lskd-data")).resolve()


def make_engine(url: URL) -> Engine:
    """Create the engine of a store, with the settings that its transactions rely on."""
    # A connection for each thread of the web app, so that none waits for the pool; last in, first
    # out, since the connection used last has prepared the statements.
    engine = create_engine(
        url,
        pool_size=16,
        max_overflow=64,
        pool_use_lifo=True,
        hide_parameters=True,  # values of people's and models' do not belong in logs
    )
    event.listen(engine, "handle_error", _on_disk_full)
    if engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _configure_postgresql)
        event.listen(engine, "checkin", _record_checkin)
        event.listen(engine, "checkout", _ping_stale)
    else:
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def enable_wal(engine: Engine) -> None:
    """Let readers and a writer of SQLite work at once; the setting is stored in the file."""
    connection = engine.raw_connection()
    connection.cursor().execute("PRAGMA journal_mode = WAL")
    connection.close()


def _on_disk_full(context: ExceptionContext) -> None:
    error = context.original_exception
    if "disk is full" in str(error) or getattr(error, "sqlstate", None) == _DISK_FULL:
        where = context.engine.url.render_as_string(hide_password=True) if context.engine else ""
        hint = "free some space and run the command again"
        raise UserError("the disk is full", where=where, hint=hint) from error


def _configure_postgresql(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
    # All statements are look-ups by key, which take longer to plan than to execute.
    connection.execute("SET plan_cache_mode = force_generic_plan")
    connection.commit()


def _record_checkin(_connection: Any, record: ConnectionPoolEntry) -> None:  # noqa: ANN401 - the driver's own
    record.info["checked_in"] = time.monotonic()


def _ping_stale(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:  # noqa: ANN401 - the driver's own
    """Test a connection that has been idle; the server may have been restarted.

    SQLAlchemy's `pool_pre_ping` would add a round trip to every vote.
    """
    now = time.monotonic()
    if now - record.info.get("checked_in", now) < _STALE_SECONDS:
        return
    try:
        connection.execute("SELECT 1")
        connection.commit()
    except Exception as error:
        raise InvalidatePoolError from error


def _configure_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
    # None disables the driver's implicit transactions; `_begin_sqlite` begins them, reads too.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {_BUSY_TIMEOUT_MS}",
        "synchronous = FULL",
        "foreign_keys = ON",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    begin = connection.get_execution_options().get("sqlite_begin", "BEGIN DEFERRED")
    connection.exec_driver_sql(begin)
