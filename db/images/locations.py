"""Where images lie: a folder, a zip, inside installed packages, or any address that fsspec opens.

A root is what the store keeps; a name never leads out of it.
"""

import importlib.util
import io
import os
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from regions.errors import UserError

PACKAGES = "package:"
"""The root of pictures that lie inside installed packages."""

LARGEST = 500_000_000
"""Bytes of one picture's file: what is larger is none."""

_SECONDS = 60


def check(root: str) -> str:
    """The root as the store keeps it; UserError where there is none to be had."""
    if root == PACKAGES:
        return root
    if "://" in root:
        if "@" in urlsplit(root).netloc:
            raise UserError(
                "an address with a password in it would be stored as it is",
                hint="give the driver its credentials by the environment",
            )
        _filesystem(root)
        return root.rstrip("/")
    path = Path(root).resolve()
    if path.suffix == ".zip" and path.is_file():
        _archive(str(path), path.stat().st_mtime_ns)
        return str(path)
    if not path.is_dir():
        raise UserError("no such folder or zip of images", where=root, hint="check --images")
    return str(path)


def is_remote(root: str) -> bool:
    """Whether pictures are not plain files of this machine."""
    return "://" in root or root.endswith(".zip")


def is_there(root: str, name: str) -> bool:
    """Whether an image's file is; one that lies elsewhere is taken to be, until it is fetched."""
    return is_remote(root) or path_of(root, name).is_file()


def open_image(root: str, name: str) -> Path | BinaryIO:
    """A file, or what can be read like one; FileNotFoundError where it is missing."""
    if not is_remote(root):
        return path_of(root, name)
    inside = os.path.normpath(name).replace(os.sep, "/")
    if inside.startswith(("../", "/")) or inside in {"..", "."} or "\\" in name or "\0" in name:
        raise UserError("an image's name leads out of its folder", where=name)
    if "://" not in root:
        return _member(root, inside)
    files, base = _filesystem(root)
    try:
        content = files.cat_file(f"{base.rstrip('/')}/{inside}", end=LARGEST + 1)
    except FileNotFoundError:
        raise
    except Exception as error:  # each driver has its own
        raise UserError(f"the image cannot be fetched: {error}"[:300], where=name) from error
    return _whole(content, name)


def path_of(root: str, name: str) -> Path:
    """The file of an image in a folder, or inside an installed package.

    UserError where the name leads out of its root or the package is not installed.
    """
    if root == PACKAGES:
        package, _, rest = name.partition("/")
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise UserError(
                f"the package {package} is not installed", hint=f"pip install {package}"
            )
        base = Path(found.submodule_search_locations[0])
    else:
        base, rest = Path(root), name
    # By its letters alone: a million look-ups of links would take longer than the import.
    path = os.path.normpath(base / rest)
    if not path.startswith(os.path.join(os.path.normpath(base), "")):  # noqa: PTH118 - with a separator at its end
        raise UserError("an image's name leads out of its folder", where=name)
    return Path(path)


def _member(root: str, name: str) -> BinaryIO:
    try:
        archive = _archive(root, Path(root).stat().st_mtime_ns)
        info = archive.getinfo(name)
    except (KeyError, FileNotFoundError) as error:
        raise FileNotFoundError(name) from error
    if info.file_size > LARGEST:
        raise UserError("the picture's file is too large", where=name)
    try:
        return _whole(archive.read(info), name)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError) as error:
        raise UserError(f"the zip is damaged there: {error}", where=name) from error


@lru_cache(8)
def _archive(root: str, _changed: int) -> zipfile.ZipFile:
    """One open archive a process; another one once the file has changed."""
    try:
        return zipfile.ZipFile(root)
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"this is no zip, or it is damaged: {error}", where=root) from error


@lru_cache(8)
def _filesystem(root: str) -> tuple[Any, str]:
    """Fsspec's file system and the path in it, once a process; UserError without its driver."""
    import fsspec

    on_the_web = root.startswith(("http://", "https://"))
    try:
        options = {"client_kwargs": {"timeout": _timeout()}} if on_the_web else {}
        files, path = fsspec.core.url_to_fs(root, **options)
    except (ImportError, ValueError) as error:
        raise UserError(
            f"no driver for this address: {error}", where=root, hint="pip install what it names"
        ) from error
    return files, root if on_the_web else str(path)


def _timeout() -> Any:  # noqa: ANN401 - the driver's own
    from aiohttp import ClientTimeout

    return ClientTimeout(total=_SECONDS)


def _whole(content: bytes, name: str) -> BinaryIO:
    if len(content) > LARGEST:
        raise UserError("the picture's file is too large", where=name)
    return io.BytesIO(content)
