"""What killed processes left in a store: runs without an end, temporary files, half restores.

A run is worked on, and a temporary file written, under a lock that ends with the process. So what
says that it is in progress while nobody holds its lock is left over. A file that was written less
than a minute ago is left alone, since its lock may be about to be taken.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select

from db.schema import Run, Submission
from db.store import runs
from db.store.files import try_lock_path
from db.store.locks import try_lock
from db.store.session import Store

RESTORE_PREFIX = ".lskd-restore-"
UPLOAD_PREFIX = ".lskd-upload-"
ENDED = "its process ended before it was done"
_NEW_SECONDS = 60
_SUFFIX_LENGTH = 9
"""Of names that `tempfile` makes: a point or hyphen, and eight characters."""


def recover(store: Store) -> list[str]:
    """Mark runs as failed whose process has ended, remove its files; returns a line for each."""
    return [*_fail_abandoned_runs(store), *remove_leftovers(store.folder)]


def remove_leftovers(folder: Path) -> list[str]:
    """Remove the temporary files in a store's folder that no process writes any more."""
    n_removed = n_bytes = 0
    lines = []
    for path in temporary_paths(folder):
        try:
            if time.time() - path.stat().st_mtime < _NEW_SECONDS:
                continue
            with try_lock_path(path) as is_left_over:
                if not is_left_over:
                    continue
                if restored := _put_back(path):
                    lines.append(f"restored {restored}, which was being replaced")
                    continue
                n_bytes += _remove(path)
                n_removed += 1
        except OSError:
            continue  # another process has removed it, or it is not ours to remove
    if n_removed:
        megabytes = n_bytes / 1_000_000
        lines.append(
            f"removed {n_removed} temporary files of {megabytes:.1f} MB of ended processes"
        )
    return lines


def _fail_abandoned_runs(store: Store) -> list[str]:
    """Mark the runs failed that say they are running while no process holds their lock."""
    awaits_batch = select(Submission.run_id).where(Submission.collected.is_(None))
    query = select(Run.id, Run.name).where(Run.status == "running", Run.id.not_in(awaits_batch))
    with store.read() as session:
        running = session.execute(query.order_by(Run.id)).all()
    lines = []
    for run_id, name in running:
        with try_lock(store, runs.lock_name(run_id)) as is_abandoned:
            if not is_abandoned:
                continue
            with store.write() as session:
                if session.get_one(Run, run_id).status != "running":
                    continue  # done meanwhile
                runs.mark_failed(session, run_id, ENDED)
        lines.append(f"marked {name} as failed: {ENDED}")
    return lines


def temporary_paths(folder: Path) -> Iterator[Path]:
    """What has the name of something temporary, in the places where we write it."""
    for prefix in (RESTORE_PREFIX, UPLOAD_PREFIX):
        yield from folder.glob(f"{prefix}*")
    yield from (file.parent for file in folder.glob("tmp????????/upload.jsonl"))  # formerly
    yield from (folder / "cache").glob(".*.????????")
    for pattern in ("*.part", ".*.????????"):
        # Files that end in .part are answers to a benchmark, which are resumed.
        yield from (path for path in (folder / "runs").glob(f"*/{pattern}") if path.is_dir())


def _put_back(path: Path) -> Path | None:
    """Move a folder back that was moved away to be replaced, if nothing has taken its place."""
    old, target = path / "old", path.with_name(path.name[1:-_SUFFIX_LENGTH])
    if not path.name.startswith(".") or not old.is_dir() or target.exists():
        return None
    old.rename(target)
    path.rmdir()
    return target


def _remove(path: Path) -> int:
    """Remove a file or folder; returns its size in bytes."""
    if not path.is_dir():
        size = path.stat().st_size
        path.unlink()
        return size
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    shutil.rmtree(path)
    return size
