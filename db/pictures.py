"""Image files: measured once on import, opened whole or not at all.

Pixels are taken as they lie in the file: boxes know nothing of orientation tags.
"""

import importlib.util
import os
from pathlib import Path
from typing import BinaryIO

import PIL.Image

from db.schema import Image
from regions.errors import UserError

MOST_PIXELS = 100_000_000
"""Past this a picture is refused before it is decoded."""

PACKAGES = "package:"
"""The root of pictures that lie inside installed packages."""


def path_of(root: str, name: str) -> Path:
    """The file of an image; a root `package:` means a file inside an installed package.

    UserError where the name leads out of its root or the package is not installed.
    """
    if root == PACKAGES:
        package, _, rest = name.partition("/")
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise UserError(
                f"the package {package} is not installed", todo=f"pip install {package}"
            )
        base = Path(found.submodule_search_locations[0])
    else:
        base, rest = Path(root), name
    # By its letters alone: a million look-ups of links would take longer than the import.
    path = os.path.normpath(base / rest)
    if not path.startswith(os.path.join(os.path.normpath(base), "")):  # noqa: PTH118 - with a separator at its end
        raise UserError("an image's name leads out of its folder", where=name)
    return Path(path)


def measure(file: Path | BinaryIO, where: str) -> tuple[int, int]:
    """Width and height in pixels by the file's header; UserError where it is no picture."""
    return _opened(file, where).size


def load(image: Image) -> PIL.Image.Image:
    """The whole picture, RGB, at the size that the store knows."""
    where = f"{image.source.name}/{image.name}"
    picture = decode(path_of(image.source.root, image.name), where)
    if picture.size != (image.width, image.height):
        raise UserError(
            "the picture has changed its size since it was imported",
            where=where,
            todo="put the old file back, or import it under another name",
        )
    return picture


def decode(file: Path | BinaryIO, where: str) -> PIL.Image.Image:
    """A picture from a file or an upload, RGB; UserError where it is none, damaged or too large."""
    picture = _opened(file, where)
    try:
        return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"the picture is damaged: {error}", where=where) from error


def _opened(file: Path | BinaryIO, where: str) -> PIL.Image.Image:
    try:
        picture = PIL.Image.open(file)
    except FileNotFoundError as error:
        raise UserError("the image is missing", where=where, todo="check --images") from error
    except PIL.Image.DecompressionBombError as error:
        raise UserError("the picture is too large", where=where, todo=_smaller()) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError("not a picture that Pillow can read", where=where) from error
    if picture.width * picture.height > MOST_PIXELS:
        raise UserError(
            f"the picture is too large: {picture.width}x{picture.height}",
            where=where,
            todo=_smaller(),
        )
    return picture


def _smaller() -> str:
    return f"make it smaller than {MOST_PIXELS // 1_000_000} megapixels"
