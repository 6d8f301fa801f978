"""Open a store by URL, and its transactions: a block that raises changes nothing.

SQLite runs in WAL mode with foreign keys on. A commit is on disk before it is acknowledged.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from db.store import migrate
from db.store.engine import enable_wal, files_folder, make_engine, parse_url
from db.store.group_commit import GroupCommit
from regions.errors import ConflictError, InvalidError, NotFoundError, UserError

DEFAULT_URL = "sqlite:///lskd-data/store.db"
_DEADLOCK = "40P01"
"""PostgreSQL's error code."""
_ATTEMPTS = 6
"""How often a job is run that ends in a deadlock."""

T = TypeVar("T")


class Store:
    """An open store: `read()` and `write()` are transactions, `folder` holds its files.

    >>> store = Store.open("sqlite:///lskd-data/none.db")
    Traceback (most recent call last):
    ...
    regions.errors.NotFoundError: no store here (lskd-data/none.db): create one with `lskd app` ...
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        # Waiting for SQLite's own lock means sleeping and polling; this lock wakes the next writer
        # of this process at once.
        self._write_lock = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()
        self._writer = engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        self._reader = engine
        if engine.dialect.name == "postgresql":
            self._reader = engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        self._group_commit = GroupCommit(self._write_connection)

    @classmethod
    def open(cls, url: str = DEFAULT_URL) -> "Store":
        """Open the store at `url` and upgrade its schema; NotFoundError if there is none."""
        parsed = parse_url(url)
        if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").exists():
            hint = "create one with `lskd app` or `lskd import`"
            raise NotFoundError("no store here", where=str(parsed.database), hint=hint)
        store = cls(make_engine(parsed), files_folder(parsed))
        store._upgrade(create=False)
        return store

    @classmethod
    def create(cls, url: str = DEFAULT_URL) -> "Store":
        """Open the store at `url`, or create it if there is none."""
        store = cls._in_new_folder(url)
        store._upgrade(create=True)  # noqa: SLF001 - it is our own
        return store

    @classmethod
    def create_empty(cls, url: str) -> "Store":
        """Create a store without any table; ConflictError if there is a store at `url`."""
        parsed = parse_url(url)
        if parsed.get_backend_name() == "sqlite" and Path(parsed.database or "").exists():
            raise ConflictError("a store already exists", where=url, hint="choose another place")
        store = cls._in_new_folder(url)
        with store.engine.connect() as connection:
            if inspect(connection).get_table_names():
                where = store.engine.url.render_as_string(hide_password=True)
                hint = "use an empty database"
                raise ConflictError("a store already exists", where=where, hint=hint)
        return store

    @classmethod
    def _in_new_folder(cls, url: str) -> "Store":
        parsed = parse_url(url)
        folder = files_folder(parsed)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                "cannot create the store's folder", where=str(folder), hint=str(error.strerror)
            ) from error
        return cls(make_engine(parsed), folder)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a read-only transaction: one consistent snapshot of the store."""
        with Session(self._reader) as session:
            yield session
            # Commit, though nothing was written: psycopg discards prepared statements on rollback.
            session.expunge_all()
            session.commit()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a transaction that holds the write lock and commits when the block succeeds.

        Its records can still be read afterwards.
        """
        with (
            self._write_lock,
            Session(self._writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def group_commit(self, job: Callable[[Connection], T]) -> T:
        """Run `job` in a transaction that other threads may share, and return its result.

        SQLite commits one transaction at a time, so jobs that wait are committed together; see
        `GroupCommit`. PostgreSQL groups concurrent commits itself; there a job that ends in a
        deadlock is run again. Either way a job may be run more than once.
        """
        if self.engine.dialect.name == "postgresql":
            return self._retry_deadlocks(job)
        return self._group_commit.run(job)

    def _retry_deadlocks(self, job: Callable[[Connection], T]) -> T:
        for _ in range(_ATTEMPTS - 1):
            try:
                with self._write_connection() as connection:
                    return job(connection)
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", None) != _DEADLOCK:
                    raise
        with self._write_connection() as connection:
            return job(connection)

    @contextmanager
    def _write_connection(self) -> Iterator[Connection]:
        with self._write_lock, self._writer.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Open a connection that sees one snapshot of the store for as long as it is open."""
        engine = self.engine
        if engine.dialect.name == "postgresql":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with engine.connect() as connection:
            yield connection

    @contextmanager
    def ddl_transaction(self) -> Iterator[Connection]:
        """Open a transaction for schema changes (DDL); foreign keys are off on SQLite."""
        with (
            self._write_lock,
            self._writer.connect() as connection,
            _foreign_keys_off(connection),
            connection.begin(),
        ):
            yield connection
        if self.engine.dialect.name == "sqlite":
            enable_wal(self.engine)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _upgrade(self, *, create: bool) -> None:
        where = self.engine.url.render_as_string(hide_password=True)
        try:
            with self.ddl_transaction() as connection:
                _check_version(connection, where, create=create)
                migrate.upgrade(connection)
        except DBAPIError as error:
            raise UserError(
                "the store cannot be read",
                where=where,
                hint=f"{str(error.orig).strip()}; is it an LSKD store, and may you write to it?",
            ) from error


@contextmanager
def _foreign_keys_off(connection: Connection) -> Iterator[None]:
    """Do not check foreign keys on SQLite, where changing a table means copying it."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def _check_version(connection: Connection, where: str, *, create: bool) -> None:
    """Raise InvalidError for a database of something else, or of a newer version."""
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is None:
        if not create or inspect(connection).get_table_names():
            raise InvalidError("not an LSKD store", where=where, hint="check --store")
        return
    try:
        ScriptDirectory(str(migrate.FOLDER)).get_revision(revision)
    except CommandError as error:
        raise InvalidError(
            f"the store is of a newer version ({revision})", where=where, hint="update lskd-studio"
        ) from error
