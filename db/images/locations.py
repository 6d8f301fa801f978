"""Locations of images: a folder, a zip, installed packages, or any URL that fsspec opens.

The store keeps the location as `root`. An image's name never leads out of it.
"""

import importlib.util
import io
import os
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from regions.errors import InvalidError, NotFoundError, UserError

PACKAGES = "package:"
"""The root of images in installed packages; their names begin with the package's."""

MAX_BYTES = 500_000_000
"""Size of an image file; a larger one is refused."""

_TIMEOUT_SECONDS = 60


def check(root: str) -> str:
    """Return a location as the store keeps it; UserError if it cannot be opened."""
    if root == PACKAGES:
        return root
    if "://" in root:
        if "@" in urlsplit(root).netloc:
            raise InvalidError(
                "the store would keep the password in this URL",
                hint="pass credentials in the environment, as the driver describes",
            )
        _filesystem(root)
        return root.rstrip("/")
    path = Path(root).resolve()
    if path.suffix == ".zip" and path.is_file():
        _archive(str(path), path.stat().st_mtime_ns)
        return str(path)
    if not path.is_dir():
        raise NotFoundError("no such folder or zip of images", where=root, hint="check --images")
    return str(path)


def is_remote(root: str) -> bool:
    """Whether images are not plain files of this machine."""
    return "://" in root or root.endswith(".zip")


def exists(root: str, name: str) -> bool:
    """Whether an image's file exists; a remote one is assumed to, until it is fetched."""
    return is_remote(root) or path_of(root, name).is_file()


def open_image(root: str, name: str) -> Path | BinaryIO:
    """Return an image's path, or a file object; FileNotFoundError if it is missing."""
    if not is_remote(root):
        return path_of(root, name)
    inside = os.path.normpath(name).replace(os.sep, "/")
    if inside.startswith(("../", "/")) or inside in {"..", "."} or "\\" in name or "\0" in name:
        raise _leads_out(name)
    if "://" not in root:
        return _zip_member(root, inside)
    filesystem, base = _filesystem(root)
    try:
        content = filesystem.cat_file(f"{base.rstrip('/')}/{inside}", end=MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except Exception as error:  # each driver has its own
        raise UserError(f"the image cannot be fetched: {error}"[:300], where=name) from error
    return _to_file(content, name)


def path_of(root: str, name: str) -> Path:
    """Return the path of an image in a folder or an installed package.

    InvalidError if the name leads out of its root, NotFoundError if the package is not installed.
    """
    if root == PACKAGES:
        package, _, rest = name.partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise NotFoundError(
                f"the package {package} is not installed", hint=f"pip install {package}"
            )
        base = Path(spec.submodule_search_locations[0])
    else:
        base, rest = Path(root), name
    # Without resolving links, which would take longer than the rest of an import.
    path = os.path.normpath(base / rest)
    if not path.startswith(os.path.join(os.path.normpath(base), "")):  # noqa: PTH118 - ends with a separator
        raise _leads_out(name)
    return Path(path)


def _leads_out(name: str) -> InvalidError:
    return InvalidError("an image's name leads out of its folder", where=name)


def _zip_member(root: str, name: str) -> BinaryIO:
    try:
        archive = _archive(root, Path(root).stat().st_mtime_ns)
        info = archive.getinfo(name)
    except (KeyError, FileNotFoundError) as error:
        raise FileNotFoundError(name) from error
    if info.file_size > MAX_BYTES:
        raise InvalidError("the image file is too large", where=name)
    try:
        return _to_file(archive.read(info), name)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError) as error:
        raise InvalidError(f"the zip is damaged: {error}", where=name) from error


@lru_cache(8)
def _archive(root: str, _modified_ns: int) -> zipfile.ZipFile:
    """Open a zip once per process, and again after the file has changed."""
    try:
        return zipfile.ZipFile(root)
    except (zipfile.BadZipFile, OSError) as error:
        raise InvalidError(f"not a zip, or a damaged one: {error}", where=root) from error


@lru_cache(8)
def _filesystem(root: str) -> tuple[Any, str]:
    """Return fsspec's file system and the path in it; UserError if its driver is missing."""
    import fsspec

    is_http = root.startswith(("http://", "https://"))
    try:
        options = {"client_kwargs": {"timeout": _timeout()}} if is_http else {}
        filesystem, path = fsspec.core.url_to_fs(root, **options)
    except (ImportError, ValueError) as error:
        raise UserError(
            f"no driver for this URL: {error}", where=root, hint="install the package it names"
        ) from error
    return filesystem, root if is_http else str(path)


def _timeout() -> Any:  # noqa: ANN401 - aiohttp's own
    from aiohttp import ClientTimeout

    return ClientTimeout(total=_TIMEOUT_SECONDS)


def _to_file(content: bytes, name: str) -> BinaryIO:
    if len(content) > MAX_BYTES:
        raise InvalidError("the image file is too large", where=name)
    return io.BytesIO(content)
