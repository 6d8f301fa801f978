"""The EXIF orientation of image files: pixels, sizes and regions are turned upright by one rule.

An orientation is a number from 1 (upright) to 8, as in EXIF; "stored" pixels are those of the file
before its orientation is applied.
"""

from collections.abc import Callable, Iterable

import PIL.Image
from PIL.ExifTags import Base

from regions.geometry import Box, Polygon

Size = tuple[int, int]
"""Width and height in pixels."""

UPRIGHT = 1
_SWAPS_SIDES = frozenset({5, 6, 7, 8})
_TRANSPOSITIONS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
_TURNED_POINT: dict[int, Callable[[float, float, int, int], tuple[float, float]]] = {
    2: lambda x, y, w, h: (w - x, y),  # noqa: ARG005 - one signature for all
    3: lambda x, y, w, h: (w - x, h - y),
    4: lambda x, y, w, h: (x, h - y),  # noqa: ARG005
    5: lambda x, y, w, h: (y, x),  # noqa: ARG005
    6: lambda x, y, w, h: (h - y, x),  # noqa: ARG005
    7: lambda x, y, w, h: (h - y, w - x),
    8: lambda x, y, w, h: (y, w - x),  # noqa: ARG005
}
"""A point of the stored pixels, of width w and height h, in the upright picture."""
_PNG_EXIF_KEYS = {"exif", "Raw profile type exif", "XML:com.adobe.xmp"}


def read_orientation(picture: PIL.Image.Image) -> int:
    """Return the orientation in an opened file's metadata; 1 if it has none, or a damaged one."""
    if picture.format == "PNG" and not _has_png_exif(picture):
        return UPRIGHT  # Pillow would decode the pixels to find out
    try:
        orientation = picture.getexif().get(Base.Orientation)
    except Exception:  # noqa: BLE001 - damaged metadata, on which Pillow raises many kinds
        return UPRIGHT
    return orientation if orientation in _TRANSPOSITIONS else UPRIGHT


def _has_png_exif(picture: PIL.Image.Image) -> bool:
    """Whether a PNG has metadata, which may also stand behind its pixels."""
    if picture.info.keys() & _PNG_EXIF_KEYS:
        return True
    file = getattr(picture, "fp", None)
    if file is None:
        return False
    position = file.tell()
    rest = file.read()
    file.seek(position)
    return b"eXIf" in rest


def upright_size(size: Size, orientation: int) -> Size:
    """Return the size of the upright picture.

    >>> upright_size((640, 480), 6), upright_size((640, 480), 3)
    ((480, 640), (640, 480))
    """
    return (size[1], size[0]) if orientation in _SWAPS_SIDES else size


def turn_picture(picture: PIL.Image.Image, orientation: int) -> PIL.Image.Image:
    """Return the upright picture of stored pixels."""
    transposition = _TRANSPOSITIONS.get(orientation)
    return picture if transposition is None else picture.transpose(transposition)


def turn_box(box: Box, size: Size, orientation: int) -> Box:
    """Return the box in the upright picture of a box in stored pixels of `size`.

    >>> turn_box((350, 150, 550, 400), (640, 480), 6)
    (80, 350, 330, 550)
    """
    if orientation == UPRIGHT:
        return box
    (ax, ay), (bx, by) = turn_polygon(((box[0], box[1]), (box[2], box[3])), size, orientation)
    return min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)


def turn_polygon(points: Iterable[tuple[float, float]], size: Size, orientation: int) -> Polygon:
    """Return points of stored pixels of `size` in the upright picture."""
    if orientation == UPRIGHT:
        return tuple(points)
    turn = _TURNED_POINT[orientation]
    return tuple(turn(x, y, *size) for x, y in points)
