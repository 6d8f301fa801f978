"""Write files and folders atomically: a reader sees the old content or all of the new.

`atomic_file` and `atomic_folder` write what a user named, and replace only what this program wrote.
`replace_file` and `replace_folder` write what the store itself keeps. Temporary files and folders
are locked while they are written, by which `recovery` tells those of a killed process.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile, mkdtemp
from typing import IO

from regions.errors import ConflictError, InvalidError, NotFoundError, UserError

MANIFEST = ".lskd-files.json"
"""In a folder: lists the files that it was written with."""

_RENAME_HINT = "choose another name"
_FORCE_HINT = "choose another name, or use --force"


@contextmanager
def atomic_file(out: Path, *, force: bool | None = None) -> Iterator[IO[bytes]]:
    """Open a temporary file that becomes `out` when the block succeeds.

    `force` is the command's --force, or None if it has no such option. ConflictError if `out`
    exists, unless `force` is set; UserError if it cannot be written.
    """
    with _write_errors(out):
        _check_parent(out)
        if out.is_dir():
            raise InvalidError("this is a folder", where=str(out), hint="name a file")
        if out.exists() and not force:
            hint = _RENAME_HINT if force is None else _FORCE_HINT
            raise ConflictError("the file already exists", where=str(out), hint=hint)
        with replace_file(out) as file:
            yield file


@contextmanager
def atomic_folder(out: Path, *, force: bool | None = None) -> Iterator[Path]:
    """Create a temporary folder that becomes `out` when the block succeeds.

    With `force`, a folder that was written this way is replaced. ConflictError if `out` contains
    anything else, even one added file; UserError if it cannot be written.
    """
    with _write_errors(out):
        _check_parent(out)
        check_replaceable(out, force=force)
        folder = Path(mkdtemp(dir=out.parent, prefix=f".{out.name}."))
        try:
            yield folder
            (folder / MANIFEST).write_text(json.dumps(_files_in(folder)), "utf-8")
            folder.chmod(0o777 & ~_umask())
            check_replaceable(out, force=force)
            _replace(out, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def replace_file(file: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `file`, if there is one, when the block succeeds."""
    temporary = NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False)  # noqa: SIM115 - closed below
    try:
        with temporary:
            fcntl.flock(temporary, fcntl.LOCK_SH)
            yield temporary
            temporary.flush()
            os.fsync(temporary.fileno())
        Path(temporary.name).chmod(0o666 & ~_umask())
        Path(temporary.name).replace(file)
    finally:
        Path(temporary.name).unlink(missing_ok=True)


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Create NAME.part, which replaces `folder`, if there is one, when the block succeeds.

    Only one process may do this at a time: a NAME.part that exists is removed.
    """
    temporary = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        with _locked(temporary):
            yield temporary
            _replace(folder, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Create a folder PREFIX... in `parent`, which is removed when the block ends."""
    folder = Path(mkdtemp(dir=parent, prefix=prefix))
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def try_lock_path(path: Path) -> Iterator[bool]:
    """Lock a temporary file or folder; yields False if a process still writes it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _check_parent(out: Path) -> None:
    if not out.parent.is_dir():
        raise NotFoundError("no such folder", where=str(out.parent), hint="create it first")


def check_replaceable(out: Path, *, force: bool | None = None) -> None:
    """ConflictError if `atomic_folder` may not replace the folder; to check before long work."""
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir():
        raise InvalidError("this is not a folder", where=str(out), hint="choose another name")
    files = _files_in(out)
    if not files:
        return
    if not force:
        hint = _RENAME_HINT if force is None else _FORCE_HINT
        raise ConflictError("the folder is not empty", where=str(out), hint=hint)
    try:
        written = set(json.loads((out / MANIFEST).read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConflictError(
            "lskd did not write this folder and will not replace it",
            where=str(out),
            hint="move it, or choose another folder",
        ) from error
    added = [name for name in files if name not in written and name != MANIFEST]
    if added:
        raise ConflictError(
            f"the folder holds files that lskd did not write: {', '.join(added[:3])}",
            where=str(out),
            hint="move them, or choose another folder",
        )


def _replace(out: Path, folder: Path) -> None:
    if not out.exists():
        folder.rename(out)
        return
    old = Path(mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    out.rename(old / "old")
    try:
        folder.rename(out)
    except OSError:
        (old / "old").rename(out)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _files_in(folder: Path) -> list[str]:
    return sorted(
        file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir()
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _write_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write this: {error.strerror or error}",
            where=str(out),
            hint="free some space or choose another place",
        ) from error
