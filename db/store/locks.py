"""Work that only one process may do at a time; whoever holds it frees it by ending, however."""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from db.store.session import Store
from regions.errors import UserError


@contextmanager
def exclusive_lock(store: Store, name: str) -> Iterator[None]:
    """Do `work` while nobody else does; UserError where somebody does.

    SQLite's store is a file of one machine: the lock lies beside it. PostgreSQL keeps one itself.
    """
    how = _advisory_lock if store.engine.dialect.name == "postgresql" else _file_lock
    digest = hashlib.sha256(name.encode()).digest()
    with how(store, digest) as held:
        if not held:
            raise UserError(
                f"another process does this already: {name}", hint="wait for it, or stop it"
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
    key = {"number": int.from_bytes(digest[:8], signed=True)}
    autocommit = store.engine.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        held = connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), key)
        try:
            yield bool(held)
        finally:
            if held:
                connection.execute(text("SELECT pg_advisory_unlock(:number)"), key)
