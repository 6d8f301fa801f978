"""What a model is shown of a picture: the whole of it, with marks, or a region cut out."""

from collections.abc import Sequence

import PIL.Image

from regions.geometry import Region
from regions.marks import draw

_AROUND = 0.1
"""What is left around a region that is cut out, as a share of its sides."""
_LEAST = 8
"""And in pixels at least: a box of one pixel shows nothing."""
SIDE = 1024
"""Longest side at which marks are drawn: a numeral must survive what the model makes smaller."""


def marked(picture: PIL.Image.Image, regions: Sequence[Region], side: int) -> PIL.Image.Image:
    """The picture, made smaller so that no side is longer than `side`, then marked."""
    width, height = fitted(picture.width, picture.height, side)
    sx, sy = width / picture.width, height / picture.height
    resized = picture.resize((width, height), PIL.Image.Resampling.BICUBIC)
    return draw(resized, [region.scaled(sx, sy) for region in regions])


def fitted(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height at which no side is longer than `side`; never larger than before.

    >>> fitted(400, 200, 100), fitted(40, 20, 100)
    ((100, 50), (40, 20))
    """
    by = min(1.0, side / max(width, height))
    return max(1, round(width * by)), max(1, round(height * by))


def cut_out(picture: PIL.Image.Image, region: Region) -> PIL.Image.Image:
    """A region's box and a little around it."""
    x1, y1, x2, y2 = region.box
    dx, dy = max(_LEAST, _AROUND * (x2 - x1)), max(_LEAST, _AROUND * (y2 - y1))
    left, top = max(0, int(x1 - dx)), max(0, int(y1 - dy))
    right, bottom = min(picture.width, int(x2 + dx + 1)), min(picture.height, int(y2 + dy + 1))
    return picture.crop((left, top, right, bottom))
