"""Scripts and styles of the pages, at URLs that name the version of all of them.

Scripts are modules that import one another by relative URLs. The version is a hash of every file,
so a browser may keep a file for good, and modules of two versions never meet: not after an upgrade
and, because the files are read once, not while a package is replaced under a running app.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

_PACKAGE = Path(__file__).parent.parent
_TYPES = {".js": "text/javascript", ".css": "text/css"}
_CACHE = "public, max-age=31536000, immutable"


def _read_files() -> dict[str, bytes]:
    """The contents of scripts and styles, by their paths in this package."""
    files = (file for folder in ("canvas", "pages") for file in (_PACKAGE / folder).rglob("*.*"))
    return {
        file.relative_to(_PACKAGE).as_posix(): file.read_bytes()
        for file in sorted(files)
        if file.suffix in _TYPES
    }


def version_of(files: Mapping[str, bytes]) -> str:
    """A hash of paths and contents.

    >>> version_of({"a.js": b"1"}) == version_of({"b.js": b"1"})
    False
    """
    digest = hashlib.sha256()
    for path, content in files.items():
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


FILES: Mapping[str, bytes] = _read_files()
VERSION = version_of(FILES)

router = APIRouter()


def url(path: str) -> str:
    """The URL of a script or a style; KeyError if there is no such file."""
    if path not in FILES:
        raise KeyError(path)
    return f"/static/{VERSION}/{path}"


@router.get("/static/{version}/{path:path}", include_in_schema=False)
def get_static_file(version: str, path: str) -> Response:
    """A file of this version; pages that are older get none and have to be loaded again."""
    content = FILES.get(path)
    if version != VERSION or content is None:
        return PlainTextResponse("no such file", 404)
    media_type = _TYPES[Path(path).suffix]
    return Response(content, media_type=media_type, headers={"cache-control": _CACHE})
