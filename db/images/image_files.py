"""Open image files: one function decodes every picture, for pages, models and exports.

Pixels are RGB and upright: the EXIF orientation is applied, 16-bit values are scaled to 8 bits over
their full range, and transparent pixels are composited on white. Sizes are those of the upright
picture.
"""

import hashlib
import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import PIL.Image

from db.images.jpeg_header import HEADER_BYTES, plain_jpeg_size
from db.images.locations import inside, is_folder, is_present, open_image, resolve
from db.images.orientation import (
    UPRIGHT,
    Size,
    read_orientation,
    turn_picture,
    upright_size,
)
from db.schema import Image, Source
from regions.errors import ConflictError, InvalidError, NotFoundError, UserError

MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded."""
_JPEG_QUALITY, _EXPORT_QUALITY = 90, 95
_PLAIN_FORMATS = {"JPEG": ("L", "RGB"), "PNG": ("L", "RGB")}
"""Formats and modes of files that every reader decodes to the same pixels as `decode`."""
_HASH_SIDE = 8


class Header(NamedTuple):
    """What the header of an image file says."""

    stored_size: Size
    """Before the orientation is applied."""
    orientation: int

    @property
    def size(self) -> Size:
        """Width and height of the upright picture."""
        return upright_size(self.stored_size, self.orientation)


class Inspection(NamedTuple):
    """What is known of a picture after all of it has been read and decoded."""

    digest: str
    """SHA-256 of the file."""
    file_bytes: int
    header: Header
    dhash: str
    """See `difference_hash`."""


def read_header(file: Path | BinaryIO, where: str) -> Header:
    """Return size and orientation without decoding; UserError if the file is not an image."""
    with _open(file, where) as picture:
        return _header(picture)


def find_image(root: str, name: str) -> tuple[str, Header]:
    """Return the name of the file of an image that is not stored yet, and its header.

    For the name see `locations.resolve`. FileNotFoundError if there is none; UserError if it is not
    an image.
    """
    size = _plain_jpeg_size(root, name) if is_folder(root) else None
    if size is not None:
        return inside(name), Header(size, UPRIGHT)
    file_name = resolve(root, name)
    return file_name, read_header(_open_file(root, file_name, file_name), file_name)


def _plain_jpeg_size(root: str, name: str) -> Size | None:
    """Return the size of a plain JPEG file of this very name; None for any other.

    Three system calls, since this is done for every image of an import.
    """
    path = os.path.join(root, inside(name))  # noqa: PTH118
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError):  # missing, or no file can have this name
        return None
    try:
        size = plain_jpeg_size(os.read(file, HEADER_BYTES))
    except OSError:  # a folder
        return None
    finally:
        os.close(file)
    return size if size is not None and size[0] * size[1] <= MAX_PIXELS else None


def decode(file: Path | BinaryIO, where: str, max_pixels: int = MAX_PIXELS) -> PIL.Image.Image:
    """Return the upright pixels of a file or upload, RGB; UserError if damaged or too large."""
    with _open(file, where, max_pixels) as picture:
        return _decode(picture, where)


def load(image: Image) -> PIL.Image.Image:
    """Return the upright pixels of a stored image, RGB.

    ConflictError if the file has another size than the stored one, or an orientation that the
    regions in the store do not follow yet.
    """
    where = _where(image)
    with _open(_open_stored(image), where) as picture:
        check_header(image, _header(picture))
        return _decode(picture, where)


def check_header(image: Image, header: Header) -> None:
    """ConflictError if a file cannot be that of a stored image, or is not upright in the store."""
    where = _where(image)
    if image.orientation is None and header.orientation != UPRIGHT:
        raise ConflictError(
            "an earlier version stored this image's regions for a picture that is not upright",
            where=where,
            hint=f"run `lskd sources check {image.source.name}`",
        )
    if header.size != (image.width, image.height):
        raise ConflictError(
            "the image has changed its size since it was imported",
            where=where,
            hint="restore the old file, or import it under another name",
        )


def inspect(root: str, name: str) -> Inspection:
    """Read and decode all of a file; UserError if it is missing, damaged or too large."""
    content = read_file(root, name)
    with _open(BytesIO(content), name) as picture:
        header = _header(picture)
        hashed = difference_hash(_decode(picture, name))
    return Inspection(hashlib.sha256(content).hexdigest(), len(content), header, hashed)


def difference_hash(picture: PIL.Image.Image) -> str:
    """Return the 64-bit dHash of a picture as 16 hex digits.

    Each bit says whether a pixel of the picture, reduced to 9 x 8 grey values, is darker than its
    right neighbour. Pictures that look alike differ in few bits.
    """
    side = _HASH_SIDE
    reduced = picture.resize((side + 1, side), PIL.Image.Resampling.BOX).convert("L")
    grey = np.asarray(reduced, dtype=np.int16)
    return np.packbits(grey[:, :-1] < grey[:, 1:]).tobytes().hex()


def upright_file(image: Image) -> tuple[bytes, str]:
    """Return the file of a stored image for an export, and its suffix.

    It is the stored file if every reader shows it as `load` does; else it is encoded anew, without
    an orientation. UserError if it is missing or damaged.
    """
    where = _where(image)
    content = _content(_open_stored(image), where)
    with _open(BytesIO(content), where) as picture:
        header = _header(picture)
        check_header(image, header)
        file_format, mode = picture.format or "", picture.mode
        is_opaque = not picture.has_transparency_data
        pixels = _decode(picture, where)
    is_plain = mode in _PLAIN_FORMATS.get(file_format, ()) and is_opaque
    if is_plain and header.orientation == UPRIGHT:
        return content, Path(image.name).suffix
    out = BytesIO()
    if file_format in {"JPEG", "MPO"}:
        pixels.save(out, "JPEG", quality=_EXPORT_QUALITY, subsampling=0)
        return out.getvalue(), ".jpg"
    pixels.save(out, "PNG")
    return out.getvalue(), ".png"


def read_file(root: str, name: str, where: str = "") -> bytes:
    """Return a file stored among the images; UserError if it is missing or cannot be read."""
    return _content(_open_file(root, name, where or name), where or name)


def to_data_url(picture: PIL.Image.Image) -> str:
    """Return the image as a `data:` URL with a JPEG, as chat APIs and pages take it."""
    file = BytesIO()
    picture.save(file, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{b64encode(file.getvalue()).decode()}"


def _where(image: Image) -> str:
    return f"{image.source.name}/{image.name}"


def _open_stored(image: Image) -> Path | BinaryIO:
    source = image.source
    if not is_present(source.root):
        raise missing_place(source)
    return _open_file(source.root, image.name, _where(image))


def missing_place(source: Source) -> NotFoundError:
    """Return the error that the place of a source does not exist, which names the remedy."""
    return NotFoundError(
        f"the images of the source {source.name} are not at their place",
        where=source.root,
        hint=f"run `lskd sources move {source.name} NEW-PLACE`",
    )


def _open_file(root: str, name: str, where: str) -> Path | BinaryIO:
    with _read_errors(where):
        return open_image(root, name)


def _content(file: Path | BinaryIO, where: str) -> bytes:
    with _read_errors(where):
        return file.read_bytes() if isinstance(file, Path) else file.read()


@contextmanager
def _read_errors(where: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise _missing(where) from error
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"the image cannot be read: {reason}", where=where) from error


def _missing(where: str) -> UserError:
    return NotFoundError(
        "the image is missing", where=where, hint="check --images, or run `lskd sources list`"
    )


def _open(file: Path | BinaryIO, where: str, max_pixels: int = MAX_PIXELS) -> PIL.Image.Image:
    too_large = f"make it smaller than {max_pixels // 1_000_000} megapixels"
    try:
        picture = PIL.Image.open(file)
    except FileNotFoundError as error:
        raise _missing(where) from error
    except PIL.Image.DecompressionBombError as error:
        raise InvalidError("the image is too large", where=where, hint=too_large) from error
    except Exception as error:  # damaged headers: Pillow's plugins raise many kinds
        raise InvalidError("this file is not a picture we can open", where=where) from error
    if picture.width * picture.height > max_pixels:
        size = f"{picture.width}x{picture.height}"
        raise InvalidError(f"the image is too large: {size}", where=where, hint=too_large)
    return picture


def _header(picture: PIL.Image.Image) -> Header:
    orientation, size = read_orientation(picture), picture.size
    if picture.format == "TIFF":  # of which Pillow states the upright size
        size = upright_size(size, orientation)
    return Header(size, orientation)


def _decode(picture: PIL.Image.Image, where: str) -> PIL.Image.Image:
    try:
        picture.load()
        # Asked again, since Pillow turns the pixels of a TIFF itself when it loads them.
        return turn_picture(_to_rgb(picture), read_orientation(picture))
    except Exception as error:  # damaged pixels: Pillow's plugins raise many kinds
        raise InvalidError(f"the image is damaged: {error}", where=where) from error


def _to_rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    if picture.mode.startswith("I;16") or picture.mode in {"I", "F"}:
        return _to_8_bits(picture).convert("RGB")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        white = PIL.Image.new("RGBA", rgba.size, "white")
        return PIL.Image.alpha_composite(white, rgba).convert("RGB")
    return picture.convert("RGB")


def _to_8_bits(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Scale grey values of more than 8 bits, which Pillow would clip.

    16-bit values are divided by 257. Integers and floats without a known range are scaled by the
    smallest of 1, 255 and 65,535 that contains them, or else by their maximum.
    """
    values = np.nan_to_num(np.asarray(picture, dtype=np.float64), posinf=0, neginf=0)
    top = 65_535.0
    if picture.mode in {"I", "F"}:
        largest = float(values.max(initial=0))
        ranges = (1.0, 255.0, 65_535.0) if picture.mode == "F" else (255.0, 65_535.0)
        top = next((limit for limit in ranges if largest <= limit), largest)
    grey = np.clip(values / top * 255, 0, 255).round().astype(np.uint8)
    return PIL.Image.fromarray(grey)
