"""Back up a store into one file, and restore it: all records, and the files of its runs.

The file is a zip with `tables/NAME.jsonl` (a row per line), `files/...`, and at its end
`manifest.json` with the schema's revision, row counts and SHA-256 digests. It is one snapshot,
taken while the store is in use, and does not depend on the database.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, Table, func, insert, select, text

from db.schema import Base
from db.store import migrate
from db.store.clock import now
from db.store.engine import parse_url
from db.store.files import atomic_file, temporary_folder
from db.store.recovery import RESTORE_PREFIX
from db.store.results import from_json
from db.store.session import Store
from regions.errors import ConflictError, InvalidError, NotFoundError, UserError
from regions.progress import Progress, no_progress

_MANIFEST = "manifest.json"
_FORMAT = "lskd-backup-1"
_RUNS = "runs"
_CHUNK_ROWS = 5_000
_CHUNK_BYTES = 1 << 20


@dataclass(slots=True)
class _TableEntry:
    rows: int
    columns: list[str]
    sha256: str


@dataclass(slots=True)
class _Manifest:
    format: str
    made: int
    revision: str
    folder: str = ""
    """Of the store; the places of images may be found again relative to it."""
    tables: dict[str, _TableEntry] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 digests by path."""

    def row_counts(self) -> dict[str, int]:
        return {name: table.rows for name, table in self.tables.items()}


@dataclass(frozen=True, slots=True)
class Restored:
    """The number of rows of each table, and the folder of the store that was backed up."""

    row_counts: dict[str, int]
    folder: str
    """Empty in backups of earlier versions."""


def backup(store: Store, file: Path, progress: Progress = no_progress) -> dict[str, int]:
    """Write a store into `file`, atomically; return the number of rows of each table."""
    with (
        atomic_file(file) as out,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive,
    ):
        return _write(store, archive, progress)


def restore(file: Path, url: str, progress: Progress = no_progress) -> Restored:
    """Create a store at `url` from a backup.

    UserError for a file that is not a backup, is damaged, or is of a newer version, and for a store
    that is not empty. All of it is checked before anything is written.
    """
    parsed = parse_url(url)
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = _read_manifest(archive, file)
            if parsed.get_backend_name() == "sqlite":
                _restore_sqlite(Path(parsed.database or "").resolve(), archive, manifest, progress)
            else:
                _restore_postgresql(url, archive, manifest, progress)
    except FileNotFoundError as error:
        raise NotFoundError("no such file", where=str(file)) from error
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InvalidError(f"not a backup, or a damaged one: {error}", where=str(file)) from error
    return Restored(manifest.row_counts(), manifest.folder)


def _restore_sqlite(
    target: Path, archive: zipfile.ZipFile, manifest: _Manifest, progress: Progress
) -> None:
    """Make the store in a temporary folder, and move it into place when all of it is there."""
    if target.exists():
        raise ConflictError(
            "a store already exists", where=str(target), hint="choose another place"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            "cannot create the store's folder", where=str(target.parent), hint=str(error.strerror)
        ) from error
    with temporary_folder(target.parent, RESTORE_PREFIX) as folder:
        store = Store.create_empty(f"sqlite:///{folder / target.name}")
        with store.ddl_transaction() as connection:
            _restore_tables(connection, archive, manifest, progress)
        store.close()  # the last connection moves all of the log into the file
        _restore_files(folder, archive, manifest)
        _move_files(folder, target.parent, manifest)
        (folder / target.name).rename(target)


def _restore_postgresql(
    url: str, archive: zipfile.ZipFile, manifest: _Manifest, progress: Progress
) -> None:
    """Fill the tables in one transaction, which ends when the files are in place."""
    store = Store.create_empty(url)
    with (
        closing(store),
        temporary_folder(store.folder, RESTORE_PREFIX) as folder,
        store.ddl_transaction() as connection,
    ):
        _restore_tables(connection, archive, manifest, progress)
        _restore_files(folder, archive, manifest)
        _move_files(folder, store.folder, manifest)


# ---- writing


def _write(store: Store, archive: zipfile.ZipFile, progress: Progress) -> dict[str, int]:
    with store.snapshot() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
        manifest = _Manifest(_FORMAT, now(), str(revision), str(store.folder.resolve()))
        tables = Base.metadata.sorted_tables
        sizes = [connection.scalar(select(func.count()).select_from(t)) or 0 for t in tables]
        done, total = 0, sum(sizes)
        for table in tables:
            columns = [column.name for column in table.columns]
            digest, rows = hashlib.sha256(), 0
            with archive.open(_member_of(table.name), "w", force_zip64=True) as member:
                for chunk in _chunks(connection, table):
                    lines = b"".join(
                        orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in chunk
                    )
                    digest.update(lines)
                    member.write(lines)
                    rows += len(chunk)
                    progress(done := done + len(chunk), total)
            manifest.tables[table.name] = _TableEntry(rows, columns, digest.hexdigest())
    folder = store.folder / _RUNS
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file():
            name = path.relative_to(store.folder).as_posix()
            archive.write(path, f"files/{name}")
            with path.open("rb") as content:
                manifest.files[name] = hashlib.file_digest(content, "sha256").hexdigest()
    archive.writestr(_MANIFEST, json.dumps(asdict(manifest), indent=1))
    return manifest.row_counts()


def _member_of(table: str) -> str:
    return f"tables/{table}.jsonl"


def _chunks(connection: Connection, table: Table) -> Iterator[list[list[Any]]]:
    streaming = connection.execution_options(yield_per=_CHUNK_ROWS)
    query = select(table).order_by(*table.primary_key.columns)
    for chunk in streaming.execute(query).partitions():
        yield [list(row) for row in chunk]


# ---- reading


def _read_manifest(archive: zipfile.ZipFile, file: Path) -> _Manifest:
    """Return the manifest, after checking version and digests."""
    content = orjson.loads(archive.read(_MANIFEST))
    if content.get("format") != _FORMAT:
        raise InvalidError("not a backup of a store", where=str(file))
    manifest = from_json(_Manifest, content)
    try:
        ScriptDirectory(str(migrate.FOLDER)).get_revision(manifest.revision)
    except CommandError as error:
        raise InvalidError(
            f"the backup is of a newer version ({manifest.revision})",
            where=str(file),
            hint="update lskd-studio",
        ) from error
    digests = {_member_of(name): table.sha256 for name, table in manifest.tables.items()}
    digests |= {f"files/{name}": digest for name, digest in manifest.files.items()}
    for name, digest in digests.items():
        with archive.open(name) as member:
            if _digest(member) != digest:
                raise InvalidError("the backup is damaged", where=f"{file}: {name}")
    return manifest


def _digest(member: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := member.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _restore_tables(
    connection: Connection, archive: zipfile.ZipFile, manifest: _Manifest, progress: Progress
) -> None:
    """Create the tables of the backup's revision, fill them, and upgrade to today's."""
    migrate.upgrade(connection, manifest.revision)
    schema = MetaData()
    schema.reflect(connection)
    done, total = 0, sum(manifest.row_counts().values())
    for table in schema.sorted_tables:
        if table.name not in manifest.tables:
            continue
        columns = manifest.tables[table.name].columns
        with archive.open(_member_of(table.name)) as lines:
            for chunk in _parsed_chunks(lines, columns):
                connection.execute(insert(table), chunk)
                progress(done := done + len(chunk), total)
        if connection.dialect.name == "postgresql" and "id" in table.columns:
            connection.execute(
                text(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'),"  # noqa: S608 - a table of ours
                    f" COALESCE(MAX(id), 1), MAX(id) IS NOT NULL) FROM {table.name}"
                )
            )
    migrate.upgrade(connection)


def _parsed_chunks(lines: IO[bytes], columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for line in lines:
        chunk.append(dict(zip(columns, orjson.loads(line), strict=True)))
        if len(chunk) == _CHUNK_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _restore_files(folder: Path, archive: zipfile.ZipFile, manifest: _Manifest) -> None:
    for name in manifest.files:
        target = (folder / name).resolve()
        if not target.is_relative_to((folder / _RUNS).resolve()):
            raise InvalidError("a file of the backup leads out of the store's folder", where=name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(archive.read(f"files/{name}"))


def _move_files(source: Path, target: Path, manifest: _Manifest) -> None:
    for name in manifest.files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).rename(target / name)
