"""A store by URL, and its transactions: whoever leaves without success changes nothing.

SQLite runs in WAL with foreign keys on; a commit is on disk before it is acknowledged.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InvalidatePoolError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from db.store import migrate
from regions.errors import NotFoundError, UserError

DEFAULT_URL = "sqlite:///lskd-data/store.db"
_BUSY_MS = 30_000
_STALE_SECONDS = 1.0
"""Seconds after which a connection to a server may have died."""
_DISK_FULL = "53100"
_DEADLOCK, _DEADLOCKS = "40P01", 5
"""PostgreSQL's code for one, and how many a job survives."""

T = TypeVar("T")


class Store:
    """An open store: `read()` and `write()` are transactions, `folder` holds what files must.

    >>> store = Store.open("sqlite:///lskd-data/none.db")
    Traceback (most recent call last):
    ...
    regions.errors.NotFoundError: no store here (lskd-data/none.db): create one with `lskd app` ...
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        # SQLite lets waiting writers sleep and poll; a lock in this process wakes the next at once.
        self._writing = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()
        self._writer = engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        self._reader = engine
        if engine.dialect.name == "postgresql":
            self._reader = engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        self._queueing = threading.Lock()
        self._has_leader = False
        self._waiting: deque[tuple[Callable[[Connection], Any], Future[Any], threading.Event]] = (
            deque()
        )

    @classmethod
    def open(cls, url: str = DEFAULT_URL) -> "Store":
        """The store at `url`, of this program's version; UserError where there is none."""
        parsed = _parse(url)
        todo = "create one with `lskd app` or `lskd import`"
        if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").exists():
            raise NotFoundError("no store here", where=str(parsed.database), hint=todo)
        store = cls(_engine(parsed), _folder(parsed))
        store._upgrade(create=False)
        return store

    @classmethod
    def create(cls, url: str = DEFAULT_URL) -> "Store":
        """The store at `url`, made if there is none."""
        store = cls._at(url)
        store._upgrade(create=True)  # noqa: SLF001 - it is our own
        return store

    @classmethod
    def create_empty(cls, url: str) -> "Store":
        """A place for a store, without any table; UserError where there is one."""
        parsed = _parse(url)
        if parsed.get_backend_name() == "sqlite" and Path(parsed.database or "").exists():
            raise UserError("there is a store already", where=url, hint="choose another place")
        store = cls._at(url)
        with store.engine.connect() as connection:
            if inspect(connection).get_table_names():
                where = store.engine.url.render_as_string(hide_password=True)
                raise UserError("there is a store already", where=where, hint="use an empty one")
        return store

    @classmethod
    def _at(cls, url: str) -> "Store":
        parsed = _parse(url)
        folder = _folder(parsed)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                "cannot make the store's folder", where=str(folder), hint=str(error.strerror)
            ) from error
        return cls(_engine(parsed), folder)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One consistent view of the store; nothing is written."""
        with Session(self._reader) as session:
            yield session
            # A commit, of nothing: after a rollback psycopg would prepare every statement anew.
            session.expunge_all()
            session.commit()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that holds the write lock from its start and commits when it succeeds.

        Its records can still be read afterwards.
        """
        with (
            self._writing,
            Session(self._writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def group_commit(self, job: Callable[[Connection], T]) -> T:
        """Do `job` in a transaction, together with those of other threads as the database can.

        PostgreSQL writes side by side and commits together by itself. On SQLite whoever comes first
        does all that wait and commits once: a disk takes one commit for eight people in the time of
        one. Nobody returns before the commit. A job that fails changes nothing and disturbs no
        other; one may be run twice, of which only the last counts.
        """
        if self.engine.dialect.name == "postgresql":
            return self._commit_with_retry(job)
        outcome: Future[T] = Future()
        turn = threading.Event()
        with self._queueing:
            self._waiting.append((job, outcome, turn))
            leads, self._has_leader = not self._has_leader, True
        # Each is woken by itself: nobody whose job is done waits for those who lead after.
        if not leads:
            turn.wait()
        if not outcome.done():
            try:
                self._run_queued_jobs()
            finally:
                with self._queueing:
                    self._has_leader = bool(self._waiting)
                    if self._waiting:
                        self._waiting[0][2].set()
        return outcome.result()

    def _commit_with_retry(self, job: Callable[[Connection], T]) -> T:
        for _ in range(_DEADLOCKS):
            try:
                with self._writer.begin() as connection:
                    return job(connection)
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", None) != _DEADLOCK:
                    raise
        with self._writer.begin() as connection:
            return job(connection)

    def _run_queued_jobs(self) -> None:
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        jobs = [(job, outcome) for job, outcome, _ in waiting]
        try:
            self._run_jobs(jobs)
        finally:
            for _, _, turn in waiting:
                turn.set()

    def _run_jobs(self, jobs: Sequence[tuple[Callable[[Connection], Any], Future[Any]]]) -> None:
        try:
            with self._writing, self._writer.begin() as connection:
                results = [job(connection) for job, _ in jobs]
        except BaseException as error:
            if len(jobs) > 1 and isinstance(error, Exception):
                # Rare, so each anew and alone is cheaper than a savepoint around every job.
                for job in jobs:
                    self._run_jobs([job])
                return
            for _, outcome in jobs:
                outcome.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            for (_, outcome), result in zip(jobs, results, strict=True):
                outcome.set_result(result)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """The whole store as it is at one instant, whatever is written meanwhile."""
        engine = self.engine
        if engine.dialect.name == "postgresql":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with engine.connect() as connection:
            yield connection

    @contextmanager
    def ddl_transaction(self) -> Iterator[Connection]:
        """A transaction in which tables may be made and moved."""
        with (
            self._writing,
            self._writer.connect() as connection,
            _without_foreign_keys(connection),
            connection.begin(),
        ):
            yield connection
        if self.engine.dialect.name == "sqlite":
            _enable_wal(self.engine)

    def discard(self) -> None:
        """Leave nothing of a store that was never finished."""
        self.close()
        if self.engine.dialect.name == "sqlite":
            Path(self.engine.url.database or "").unlink(missing_ok=True)

    def close(self) -> None:
        """Give back every connection."""
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
                hint=f"{str(error.orig).strip()}; is it an LSKD store, and may you write it?",
            ) from error


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by copying it, and would see every reference to the old one broken."""
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
    found = MigrationContext.configure(connection).get_current_revision()
    known = ScriptDirectory(str(migrate.FOLDER))
    if found is None and (not create or inspect(connection).get_table_names()):
        raise UserError("this is no LSKD store", where=where, hint="check --store")
    if found is not None:
        try:
            known.get_revision(found)
        except CommandError as error:
            raise UserError(
                f"the store is of a newer version ({found})", where=where, hint="update lskd-studio"
            ) from error


def _parse(url: str) -> URL:
    """`url`, where a plain path means SQLite."""
    try:
        parsed = make_url(url if "://" in url else f"sqlite:///{url}")
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        raise UserError("not a store's URL", where=url, hint="try sqlite:///FILE") from error
    if backend not in {"sqlite", "postgresql"}:
        raise UserError(f"no support for {backend}", where=url, hint="use sqlite or postgresql")
    if backend == "sqlite" and not parsed.database:
        raise UserError("a store needs a file", where=url, hint="try sqlite:///FILE")
    return parsed


def _folder(url: URL) -> Path:
    """Where the store keeps files: beside SQLite's own, else `$LSKD_FOLDER` or lskd-data."""
    if url.get_backend_name() == "sqlite":
        return Path(url.database or "").resolve().parent
    return Path(os.environ.get("LSKD_FOLDER", "lskd-data")).resolve()


def _engine(url: URL) -> Engine:
    # One connection a thread of the web app; none waits for the pool. The last one given back is
    # the first one taken: it knows the statements.
    on_server = url.get_backend_name() == "postgresql"
    engine = create_engine(url, pool_size=16, max_overflow=64, pool_use_lifo=True)
    event.listen(engine, "handle_error", _on_disk_full)
    if on_server:
        event.listen(engine, "connect", _prepare_postgresql)
        event.listen(engine, "checkin", _record_checkin)
        event.listen(engine, "checkout", _ping_stale)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _on_disk_full(context: ExceptionContext) -> None:
    """A full disk is nobody's mistake in the program: say so in one line."""
    error = context.original_exception
    if "disk is full" in str(error) or getattr(error, "sqlstate", None) == _DISK_FULL:
        where = context.engine.url.render_as_string(hide_password=True) if context.engine else ""
        todo = "make room, and give the same command again"
        raise UserError("the disk is full", where=where, hint=todo) from error


def _prepare_postgresql(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
    # Our statements look things up by key: to plan them anew each time takes longer than to run.
    connection.execute("SET plan_cache_mode = force_generic_plan")
    connection.commit()


def _record_checkin(_connection: Any, record: ConnectionPoolEntry) -> None:  # noqa: ANN401 - the driver's own
    record.info["since"] = time.monotonic()


def _ping_stale(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:  # noqa: ANN401 - the driver's own
    """Ask a connection that has rested whether it still lives; the server may have been restarted.

    SQLAlchemy's own ping would ask at every vote.
    """
    if time.monotonic() - record.info.get("since", time.monotonic()) < _STALE_SECONDS:
        return
    try:
        connection.execute("SELECT 1")
        connection.commit()
    except Exception as error:
        raise InvalidatePoolError from error


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
    # None: the driver begins nothing by itself, so that a read is one snapshot too.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {_BUSY_MS}",
        "synchronous = FULL",
        "foreign_keys = ON",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _enable_wal(engine: Engine) -> None:
    """Let readers and a writer work at once; the file remembers it from then on."""
    connection = engine.raw_connection()
    connection.cursor().execute("PRAGMA journal_mode = WAL")
    connection.close()


def _begin_sqlite(connection: Connection) -> None:
    begin = connection.get_execution_options().get("sqlite_begin", "BEGIN DEFERRED")
    connection.exec_driver_sql(begin)
