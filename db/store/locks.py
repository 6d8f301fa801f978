"""Locks between processes, which end with the process that holds them.

A file lock beside a SQLite store, an advisory lock of PostgreSQL.
"""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from db.store.session import Store
from regions.errors import ConflictError


@contextmanager
def exclusive_lock(store: Store, name: str) -> Iterator[None]:
    """Hold the lock `name` of a store; ConflictError if another process holds it."""
    with try_lock(store, name) as is_held:
        if not is_held:
            raise ConflictError(
                f"another process is doing this already: {name}", hint="wait for it, or stop it"
            )
        yield


@contextmanager
def try_lock(store: Store, name: str) -> Iterator[bool]:
    """Hold the lock `name` if nobody does; yields whether it is held."""
    with _acquire(store, name, shared=False) as is_held:
        yield is_held


@contextmanager
def shared_lock(store: Store, name: str) -> Iterator[None]:
    """Hold the lock `name` together with others; wait while `try_lock` holds it."""
    with _acquire(store, name, shared=True):
        yield


@contextmanager
def _acquire(store: Store, name: str, *, shared: bool) -> Iterator[bool]:
    acquire = _advisory_lock if store.engine.dialect.name == "postgresql" else _file_lock
    with acquire(store, hashlib.sha256(name.encode()).digest(), shared=shared) as is_held:
        yield is_held


@contextmanager
def _file_lock(store: Store, digest: bytes, *, shared: bool) -> Iterator[bool]:
    folder = store.folder / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / digest.hex()[:16]).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def _advisory_lock(store: Store, digest: bytes, *, shared: bool) -> Iterator[bool]:
    key = {"key": int.from_bytes(digest[:8], signed=True)}
    suffix = "_shared" if shared else ""
    lock = "pg_advisory_lock_shared" if shared else "pg_try_advisory_lock"
    autocommit = store.engine.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        # Waiting returns nothing; trying returns whether it succeeded.
        is_held = connection.scalar(text(f"SELECT {lock}(:key)"), key) is not False
        try:
            yield is_held
        finally:
            if is_held:
                connection.execute(text(f"SELECT pg_advisory_unlock{suffix}(:key)"), key)
