"""The embedded describer: from annotations alone, without a model.

It says of every labelled region what it is, where and how large, and counts what there is.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from db.schema import Image
from generation.verbalize.protocol import Text
from regions.geometry import Region

_ROWS = ("top", "middle", "bottom")
_COLUMNS = ("left", "centre", "right")
_LARGE, _SMALL = 0.25, 0.02
"""Shares of the picture's area from which a region is called large, and below which small."""


class Annotations:
    """Describes what people have already marked and named."""

    model = "annotations"
    version = "1"

    def describe(self, image: Image, regions: Sequence[Region]) -> Iterator[Text]:
        """One text for each labelled region, and one that counts them."""
        labelled = [region for region in regions if region.label]
        for region in labelled:
            size, where = size_of(region, image.width, image.height), place_of(region, image)
            article = "an" if (size or region.label)[0] in "aeiou" else "a"
            words = f"{article} {size} {region.label}" if size else f"{article} {region.label}"
            yield Text("region", f"{words} in the {where} of the picture", region.number)
        if labelled:
            counts = Counter(region.label for region in labelled)
            yield Text("concept", ", ".join(f"{n} {label}" for label, n in sorted(counts.items())))


def place_of(region: Region, image: Image) -> str:
    """Where the middle of a region lies, on a grid of three by three.

    >>> place_of(Region(0, (0, 0, 10, 10)), Image(width=100, height=100))
    'top left'
    """
    x1, y1, x2, y2 = region.box
    row = _ROWS[min(int((y1 + y2) / 2 / image.height * 3), 2)]
    column = _COLUMNS[min(int((x1 + x2) / 2 / image.width * 3), 2)]
    return "centre" if (row, column) == ("middle", "centre") else f"{row} {column}"


def size_of(region: Region, width: int, height: int) -> str:
    """Large, small, or nothing for what is between, by the share of the picture's area."""
    share = region.area / (width * height)
    return "large" if share >= _LARGE else "small" if share < _SMALL else ""
