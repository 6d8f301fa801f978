"""What a model is shown of a picture beside its marks: a region cut out."""

import PIL.Image

from regions.geometry import Region

_AROUND = 0.1
"""What is left around a region that is cut out, as a share of its sides."""
_LEAST = 8
"""And in pixels at least: a box of one pixel shows nothing."""
SIDE = 1024
"""Longest side at which marks are drawn: a numeral must survive what the model makes smaller."""


def cut_out(picture: PIL.Image.Image, region: Region) -> PIL.Image.Image:
    """A region's box and a little around it."""
    x1, y1, x2, y2 = region.box
    dx, dy = max(_LEAST, _AROUND * (x2 - x1)), max(_LEAST, _AROUND * (y2 - y1))
    left, top = max(0, int(x1 - dx)), max(0, int(y1 - dy))
    right, bottom = min(picture.width, int(x2 + dx + 1)), min(picture.height, int(y2 + dy + 1))
    return picture.crop((left, top, right, bottom))
