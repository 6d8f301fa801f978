"""Regions as captioning models see them: cropped from the image with a margin."""

import PIL.Image

from regions.geometry import Region

_MARGIN = 0.1
"""Share of the region's sides."""
_MIN_MARGIN = 8
"""Pixels: a box of a single pixel would show nothing."""


def crop_region(image: PIL.Image.Image, region: Region) -> PIL.Image.Image:
    """Return a region's box with a margin, clipped to the image."""
    x1, y1, x2, y2 = region.box
    dx, dy = max(_MIN_MARGIN, _MARGIN * (x2 - x1)), max(_MIN_MARGIN, _MARGIN * (y2 - y1))
    left, top = max(0, int(x1 - dx)), max(0, int(y1 - dy))
    right, bottom = min(image.width, int(x2 + dx + 1)), min(image.height, int(y2 + dy + 1))
    return image.crop((left, top, right, bottom))
