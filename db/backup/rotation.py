"""A folder of backups, each named after its time; the oldest are deleted."""

import re
from datetime import UTC, datetime
from pathlib import Path

from regions.errors import UserError

_NAME = re.compile(r"lskd-\d{8}T\d{6}Z\.zip")


def new_file(folder: Path) -> Path:
    """Return the file of a backup made now; UserError if the folder cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            "cannot create the folder of backups", where=str(folder), hint=str(error.strerror)
        ) from error
    return folder / f"lskd-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zip"


def delete_old(folder: Path, keep: int) -> list[Path]:
    """Delete all but the newest `keep` backups that `new_file` named; return the deleted ones.

    Other files in the folder stay.
    """
    backups = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    old = backups[:-keep]
    for path in old:
        path.unlink()
    return old
