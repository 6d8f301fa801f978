"""Locations of images: a folder, a zip, installed packages, or any URL that fsspec opens.

The store keeps the location as `root`. An image's name never leads out of it. Spellings of a file's
name (a backslash for `/`, `./`, composed or decomposed characters) resolve to one name.
"""

import importlib.util
import io
import os
import posixpath
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from regions.errors import InvalidError, NotFoundError, UserError

PACKAGES = "package:"
"""The root of images in installed packages; their names begin with the package's."""

NO_PICTURES = "none:"
"""The root of images of which only texts and regions are known."""

MAX_BYTES = 500_000_000
"""Size of an image file; a larger one is refused."""

_TIMEOUT_SECONDS = 60
_UTF8_FLAG = 0x800
"""Set in a zip for names in UTF-8."""


def check(root: str) -> str:
    """Return a location as the store keeps it; UserError if it cannot be opened."""
    if root in {PACKAGES, NO_PICTURES}:
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


def is_folder(root: str) -> bool:
    """Whether images are files below a folder."""
    return root not in {PACKAGES, NO_PICTURES} and not is_remote(root)


def exists(root: str, name: str) -> bool:
    """Whether an image's file exists; a remote one is assumed to, until it is fetched."""
    if is_remote(root):
        return True
    try:
        resolve(root, name)
    except FileNotFoundError:
        return False
    return True


def file_bytes(root: str, name: str) -> int | None:
    """Return the size of an image's file; None if it is missing or would have to be fetched."""
    try:
        if root.endswith(".zip") and "://" not in root:
            return _zip_member(root, name)[1].file_size
        return None if is_remote(root) else path_of(root, resolve(root, name)).stat().st_size
    except (UserError, OSError):
        return None


def is_present(root: str) -> bool:
    """Whether a location itself exists; a remote one is assumed to."""
    return root in {PACKAGES, NO_PICTURES} or "://" in root or Path(root).exists()


def resolve(root: str, name: str) -> str:
    """Return the name that a file has in its location; FileNotFoundError if there is none.

    The name of the file itself is preferred; else one that differs only in spelling, in the zip's
    single top folder, or by the name of the root folder in front. InvalidError if the name leads
    out of its root.
    """
    if "://" in root:
        return inside(name.replace("\\", "/"))
    if root == NO_PICTURES:
        raise FileNotFoundError(name)
    if root.endswith(".zip"):
        return _zip_member(root, name)[0]
    if path_of(root, name).is_file():
        return name if root == PACKAGES else inside(name)
    if root == PACKAGES:
        raise FileNotFoundError(name)
    spelled = inside(name.replace("\\", "/"))
    top, _, rest = spelled.partition("/")
    candidates = [spelled, rest] if rest and top == Path(root).name else [spelled]
    for candidate in candidates:
        if (found := _find_spelling(root, candidate)) is not None:
            return found
    raise FileNotFoundError(name)


def inside(name: str) -> str:
    """Return a name without `.` and `..`; InvalidError if it leads out of its root."""
    normal = posixpath.normpath(name)
    if normal.startswith(("../", "/")) or normal in {"..", "."} or "\0" in name:
        raise _leads_out(name)
    return normal


def _find_spelling(root: str, name: str) -> str | None:
    """Return the name of a file that differs from `name` in Unicode normalisation only."""
    found: list[str] = []
    for part in name.split("/"):
        folder = os.path.join(root, *found)  # noqa: PTH118 - as fast as it can be
        if part != ".." and os.path.lexists(os.path.join(folder, part)):  # noqa: PTH118
            found.append(part)
            continue
        try:
            entries = _listing(folder, os.stat(folder).st_mtime_ns)  # noqa: PTH116
        except OSError:
            return None
        spelling = entries.get(unicodedata.normalize("NFC", part))
        if spelling is None:
            return None
        found.append(spelling)
    return "/".join(found) if os.path.isfile(os.path.join(root, *found)) else None  # noqa: PTH113, PTH118


@lru_cache(256)
def _listing(folder: str, _modified_ns: int) -> dict[str, str]:
    """Return the names in a folder by their composed form."""
    return {unicodedata.normalize("NFC", entry): entry for entry in sorted(os.listdir(folder))}  # noqa: PTH208


def open_image(root: str, name: str) -> Path | BinaryIO:
    """Return an image's path, or a file object; FileNotFoundError if it is missing."""
    if root == NO_PICTURES:
        raise FileNotFoundError(name)
    if not is_remote(root):
        path = path_of(root, name)
        return path if path.is_file() else path_of(root, resolve(root, name))
    if "://" not in root:
        return _read_member(root, *_zip_member(root, name))
    filesystem, base = _filesystem(root)
    spelled = inside(name.replace("\\", "/"))
    for spelling in dict.fromkeys([spelled, *_normal_forms(spelled)]):
        with suppress(FileNotFoundError):
            return _fetch(filesystem, f"{base.rstrip('/')}/{spelling}", name)
    raise FileNotFoundError(name)


def _normal_forms(name: str) -> Iterator[str]:
    yield unicodedata.normalize("NFC", name)
    yield unicodedata.normalize("NFD", name)


def _fetch(filesystem: Any, path: str, name: str) -> BinaryIO:  # noqa: ANN401 - fsspec's own
    try:
        content = filesystem.cat_file(path, end=MAX_BYTES + 1)
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
        base = spec.submodule_search_locations[0]
    else:
        base, rest = root, name
    # Plain strings, and links are not resolved: this is done for every image of an import.
    path = os.path.normpath(os.path.join(base, rest))  # noqa: PTH118
    if not path.startswith(os.path.join(os.path.normpath(base), "")):  # noqa: PTH118 - ends with a separator
        raise _leads_out(name)
    return Path(path)


def _leads_out(name: str) -> InvalidError:
    return InvalidError("an image's name leads out of its folder", where=name)


def _zip_member(root: str, name: str) -> tuple[str, zipfile.ZipInfo]:
    """Return the member of a zip for an image's name; FileNotFoundError if there is none."""
    try:
        modified = Path(root).stat().st_mtime_ns
    except FileNotFoundError as error:
        raise FileNotFoundError(name) from error
    members = _members(root, modified)
    spelled = unicodedata.normalize("NFC", inside(name.replace("\\", "/")))
    top, _, rest = spelled.partition("/")
    for candidate in (spelled, rest if top == Path(root).stem else ""):
        if candidate in members:
            return members[candidate]
    raise FileNotFoundError(name)


@lru_cache(8)
def _members(root: str, modified_ns: int) -> dict[str, tuple[str, zipfile.ZipInfo]]:
    """Return a zip's files with their names, by composed name and that below a single top folder.

    Files that macOS adds (`__MACOSX/`, `._*`) are left out.
    """
    members: dict[str, tuple[str, zipfile.ZipInfo]] = {}
    for info in _archive(root, modified_ns).infolist():
        name = posixpath.normpath(_decoded_name(info).replace("\\", "/"))
        if info.is_dir() or name.startswith("__MACOSX/") or posixpath.basename(name)[:2] == "._":
            continue
        members.setdefault(unicodedata.normalize("NFC", name), (name, info))
    tops = {name.partition("/")[0] for name in members}
    if len(tops) == 1 and all("/" in name for name in members):
        members |= {name.partition("/")[2]: member for name, member in members.items()}
    return members


def _decoded_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name; macOS writes UTF-8 without the flag that says so."""
    if info.flag_bits & _UTF8_FLAG:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _read_member(root: str, name: str, info: zipfile.ZipInfo) -> BinaryIO:
    if info.file_size > MAX_BYTES:
        raise InvalidError("the image file is too large", where=name)
    try:
        return _to_file(_archive(root, Path(root).stat().st_mtime_ns).read(info), name)
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
