"""Locks between processes, which end with the process that holds them."""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from db.store.session import Store
from regions.errors import ConflictError


@contextmanager
def exclusive_lock(store: Store, name: str) -> Iterator[None]:
    """Hold the lock `name` of a store; ConflictError if another process holds it.

    A file lock beside a SQLite store, an advisory lock of PostgreSQL.
    """
    acquire = _advisory_lock if store.engine.dialect.name == "postgresql" else _file_lock
    digest = hashlib.sha256(name.encode()).digest()
    with acquire(store, digest) as is_held:
        if not is_held:
            raise ConflictError(
                f"another process is doing this already: {name}", hint="wait for it, or stop it"
            )
        yield


@contextmanager
def _file_lock(store: Store, digest: bytes) -> Iterator[bool]:
    folder = store.folder / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / digest.hex()[:16]).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def _advisory_lock(store: Store, digest: bytes) -> Iterator[bool]:
    key = {"key": int.from_bytes(digest[:8], signed=True)}
    autocommit = store.engine.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        is_held = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), key))
        try:
            yield is_held
        finally:
            if is_held:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
