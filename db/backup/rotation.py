"""A folder of backups, each named after its time; the oldest are deleted."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from db.backup.backup import backup
from db.store.session import Store
from regions.errors import UserError
from regions.progress import Progress, no_progress

_NAME = re.compile(r"lskd-\d{8}T\d{6}Z\.zip")


class AddedBackup(NamedTuple):
    """The file of a backup, the rows in it by table, and the older files that were deleted."""

    file: Path
    row_counts: dict[str, int]
    deleted: list[Path]


def add_backup(
    store: Store, folder: Path, keep: int, progress: Progress = no_progress
) -> AddedBackup:
    """Back up a store into a folder, and delete all but the newest `keep` of its backups.

    Other files in the folder stay. UserError if the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            "cannot create the folder of backups", where=str(folder), hint=str(error.strerror)
        ) from error
    file = folder / f"lskd-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zip"
    row_counts = backup(store, file, progress)
    old = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))[:-keep]
    for path in old:
        path.unlink()
    return AddedBackup(file, row_counts, old)
