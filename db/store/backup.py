"""A store in one file: every record and what runs left on disk, whatever database holds it.

A zip: `tables/NAME.jsonl` with a row a line, `files/...`, and last the manifest with revision,
counts and digests. Taken from one snapshot, while people work.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator
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
from db.store.files import atomic_file
from db.store.session import Store
from regions.errors import UserError
from regions.progress import Progress, no_progress

_MANIFEST = "manifest.json"
_FORMAT = "lskd-backup-1"
_RUNS = "runs"
_ROWS = 5_000
_PIECE = 1 << 20


def backup(store: Store, file: Path, progress: Progress = no_progress) -> dict[str, int]:
    """Write a store into `file`, whole or not at all; how many rows each table has."""
    with (
        atomic_file(file) as out,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive,
    ):
        return _write(store, archive, progress)


def restore(file: Path, url: str, progress: Progress = no_progress) -> dict[str, int]:
    """Make a new store at `url` out of a backup; how many rows each table has.

    UserError for a file that is no backup, is damaged, or is of a newer version, and for a store
    that holds anything: those are found before anything is written.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = _read_manifest(archive, file)
            store = Store.create_empty(url)
            try:
                with store.ddl_transaction() as connection:
                    _read(connection, archive, manifest, progress)
                _restore_files(store, archive, manifest)
            except BaseException:
                store.discard()
                raise
            store.close()
    except FileNotFoundError as error:
        raise UserError("no such file", where=str(file)) from error
    except (OSError, zipfile.BadZipFile, KeyError, orjson.JSONDecodeError) as error:
        raise UserError(f"this is no backup, or it is damaged: {error}", where=str(file)) from error
    return {name: table["rows"] for name, table in manifest["tables"].items()}


# ---- writing


def _write(store: Store, archive: zipfile.ZipFile, progress: Progress) -> dict[str, int]:
    manifest: dict[str, Any] = {"format": _FORMAT, "made": now(), "tables": {}, "files": {}}
    with store.snapshot() as connection:
        manifest["revision"] = MigrationContext.configure(connection).get_current_revision()
        tables = Base.metadata.sorted_tables
        sizes = {t: connection.scalar(select(func.count()).select_from(t)) or 0 for t in tables}
        done, total = 0, sum(sizes.values())
        for table in tables:
            name, digest, rows = f"tables/{table.name}.jsonl", hashlib.sha256(), 0
            with archive.open(name, "w", force_zip64=True) as member:
                for chunk in _rows(connection, table):
                    lines = b"".join(
                        orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in chunk
                    )
                    digest.update(lines)
                    member.write(lines)
                    rows += len(chunk)
                    progress(done := done + len(chunk), total)
            columns = [column.name for column in table.columns]
            manifest["tables"][table.name] = {
                "rows": rows,
                "columns": columns,
                "sha256": digest.hexdigest(),
            }
    folder = store.folder / _RUNS
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file():
            name = path.relative_to(store.folder).as_posix()
            archive.write(path, f"files/{name}")
            with path.open("rb") as content:
                manifest["files"][name] = hashlib.file_digest(content, "sha256").hexdigest()
    archive.writestr(_MANIFEST, json.dumps(manifest, indent=1))
    return {name: table["rows"] for name, table in manifest["tables"].items()}


def _rows(connection: Connection, table: Table) -> Iterator[list[list[Any]]]:
    streaming = connection.execution_options(yield_per=_ROWS)
    query = select(table).order_by(*table.primary_key.columns)
    for chunk in streaming.execute(query).partitions():
        yield [list(row) for row in chunk]


# ---- reading


def _read_manifest(archive: zipfile.ZipFile, file: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = orjson.loads(archive.read(_MANIFEST))
    if manifest.get("format") != _FORMAT:
        raise UserError("this is no backup of a store", where=str(file))
    try:
        ScriptDirectory(str(migrate.FOLDER)).get_revision(manifest["revision"])
    except CommandError as error:
        raise UserError(
            f"the backup is of a newer version ({manifest['revision']})",
            where=str(file),
            hint="update lskd-studio",
        ) from error
    digests = {f"tables/{name}.jsonl": t["sha256"] for name, t in manifest["tables"].items()}
    digests |= {f"files/{name}": digest for name, digest in manifest["files"].items()}
    for name, digest in digests.items():
        with archive.open(name) as member:
            if _digest(member) != digest:
                raise UserError("the backup is damaged", where=f"{file}: {name}")
    return manifest


def _digest(member: IO[bytes]) -> str:
    found = hashlib.sha256()
    while piece := member.read(_PIECE):
        found.update(piece)
    return found.hexdigest()


def _read(
    connection: Connection, archive: zipfile.ZipFile, manifest: dict[str, Any], progress: Progress
) -> None:
    """Tables as they were in the backup's version, then brought to this one."""
    migrate.upgrade(connection, manifest["revision"])
    known = MetaData()
    known.reflect(connection)
    done, total = 0, sum(table["rows"] for table in manifest["tables"].values())
    for table in known.sorted_tables:
        if table.name not in manifest["tables"]:
            continue
        columns = manifest["tables"][table.name]["columns"]
        with archive.open(f"tables/{table.name}.jsonl") as lines:
            chunk: list[dict[str, Any]] = []
            for line in lines:
                chunk.append(dict(zip(columns, orjson.loads(line), strict=True)))
                if len(chunk) == _ROWS:
                    connection.execute(insert(table), chunk)
                    progress(done := done + len(chunk), total)
                    chunk = []
            if chunk:
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


def _restore_files(store: Store, archive: zipfile.ZipFile, manifest: dict[str, Any]) -> None:
    for name in manifest["files"]:
        target = (store.folder / name).resolve()
        if not target.is_relative_to((store.folder / _RUNS).resolve()):
            raise UserError("a file of the backup leads out of the store's folder", where=name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(archive.read(f"files/{name}"))
