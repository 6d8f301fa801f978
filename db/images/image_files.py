"""Read image files: their size, measured on import, and their pixels.

Orientation tags are ignored, as boxes refer to the pixels as stored.
"""

from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import PIL.Image

from db.images.locations import open_image
from db.schema import Image
from regions.errors import ConflictError, InvalidError, NotFoundError, UserError

MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded."""
_JPEG_QUALITY = 90


def read_size(file: Path | BinaryIO, where: str) -> tuple[int, int]:
    """Return width and height in pixels from the file's header; UserError if it is not an image."""
    return _open(file, where).size


def load(image: Image) -> PIL.Image.Image:
    """Return the pixels of a stored image, RGB; ConflictError if its size has changed."""
    where = f"{image.source.name}/{image.name}"
    picture = decode(_open_file(image.source.root, image.name, where), where)
    if picture.size != (image.width, image.height):
        raise ConflictError(
            "the image has changed its size since it was imported",
            where=where,
            hint="restore the old file, or import it under another name",
        )
    return picture


def read_bytes(image: Image) -> bytes:
    """Return the file of a stored image; NotFoundError if it is missing."""
    return read_file(image.source.root, image.name, f"{image.source.name}/{image.name}")


def read_file(root: str, name: str, where: str = "") -> bytes:
    """Return a file stored among the images; NotFoundError if it is missing."""
    file = _open_file(root, name, where or name)
    try:
        return file.read_bytes() if isinstance(file, Path) else file.read()
    except FileNotFoundError as error:
        raise _missing(where or name) from error


def image_size(root: str, name: str) -> tuple[int, int]:
    """Return width and height in pixels of an image that is not stored yet."""
    return read_size(_open_file(root, name, name), name)


def decode(file: Path | BinaryIO, where: str) -> PIL.Image.Image:
    """Return the pixels of a file or upload, RGB; UserError if it is damaged or too large."""
    picture = _open(file, where)
    try:
        return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise InvalidError(f"the image is damaged: {error}", where=where) from error


def to_data_url(picture: PIL.Image.Image) -> str:
    """Return the image as a `data:` URL with a JPEG, as chat APIs and pages take it."""
    file = BytesIO()
    picture.save(file, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{b64encode(file.getvalue()).decode()}"


def _open_file(root: str, name: str, where: str) -> Path | BinaryIO:
    try:
        return open_image(root, name)
    except FileNotFoundError as error:
        raise _missing(where) from error


def _missing(where: str) -> UserError:
    return NotFoundError("the image is missing", where=where, hint="check --images")


def _open(file: Path | BinaryIO, where: str) -> PIL.Image.Image:
    too_large = f"make it smaller than {MAX_PIXELS // 1_000_000} megapixels"
    try:
        picture = PIL.Image.open(file)
    except FileNotFoundError as error:
        raise _missing(where) from error
    except PIL.Image.DecompressionBombError as error:
        raise InvalidError("the image is too large", where=where, hint=too_large) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise InvalidError("this file is not a picture we can open", where=where) from error
    if picture.width * picture.height > MAX_PIXELS:
        size = f"{picture.width}x{picture.height}"
        raise InvalidError(f"the image is too large: {size}", where=where, hint=too_large)
    return picture
