"""Image files: measured once on import, opened whole or not at all.

Pixels are taken as they lie in the file: boxes know nothing of orientation tags.
"""

from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import PIL.Image

from db.images.locations import open_image
from db.schema import Image
from regions.errors import InvalidError, UserError

MOST_PIXELS = 100_000_000
"""Past this a picture is refused before it is decoded."""
_QUALITY = 90
"""Of JPEG."""


def read_size(file: Path | BinaryIO, where: str) -> tuple[int, int]:
    """Width and height in pixels by the file's header; UserError where it is no picture."""
    return _opened(file, where).size


def load(image: Image) -> PIL.Image.Image:
    """The whole picture, RGB, at the size that the store knows."""
    where = f"{image.source.name}/{image.name}"
    picture = decode(_file(image.source.root, image.name, where), where)
    if picture.size != (image.width, image.height):
        raise UserError(
            "the picture has changed its size since it was imported",
            where=where,
            hint="put the old file back, or import it under another name",
        )
    return picture


def read_bytes(image: Image) -> bytes:
    """The file of a picture as it is; UserError where it is missing."""
    return read_file(image.source.root, image.name, f"{image.source.name}/{image.name}")


def read_file(root: str, name: str, where: str = "") -> bytes:
    """A file among the images as it is; UserError where it is missing."""
    file = _file(root, name, where or name)
    try:
        return file.read_bytes() if isinstance(file, Path) else file.read()
    except FileNotFoundError as error:
        raise _missing(where or name) from error


def size_of(root: str, name: str) -> tuple[int, int]:
    """Width and height of an image of a source."""
    return read_size(_file(root, name, name), name)


def decode(file: Path | BinaryIO, where: str) -> PIL.Image.Image:
    """A picture from a file or an upload, RGB; UserError where it is none, damaged or too large."""
    picture = _opened(file, where)
    try:
        return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"the picture is damaged: {error}", where=where) from error


def to_data_url(picture: PIL.Image.Image) -> str:
    """The picture as an address that holds it, as chats and pages take pictures."""
    file = BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{b64encode(file.getvalue()).decode()}"


def _file(root: str, name: str, where: str) -> Path | BinaryIO:
    try:
        return open_image(root, name)
    except FileNotFoundError as error:
        raise _missing(where) from error


def _missing(where: str) -> UserError:
    return UserError("the image is missing", where=where, hint="check --images")


def _opened(file: Path | BinaryIO, where: str) -> PIL.Image.Image:
    try:
        picture = PIL.Image.open(file)
    except FileNotFoundError as error:
        raise _missing(where) from error
    except PIL.Image.DecompressionBombError as error:
        raise UserError("the picture is too large", where=where, hint=_smaller()) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise InvalidError("not a picture that Pillow can read", where=where) from error
    if picture.width * picture.height > MOST_PIXELS:
        raise UserError(
            f"the picture is too large: {picture.width}x{picture.height}",
            where=where,
            hint=_smaller(),
        )
    return picture


def _smaller() -> str:
    return f"make it smaller than {MOST_PIXELS // 1_000_000} megapixels"
