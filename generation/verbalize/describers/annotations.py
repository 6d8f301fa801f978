"""The embedded describer: from annotations alone, without a model.

It says of every labelled region what it is, where and how large, and counts what there is.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import PIL.Image

from generation.verbalize.protocol import Item, Place
from regions.geometry import Region

_ROWS = ("top", "middle", "bottom")
_COLUMNS = ("left", "centre", "right")
_LARGE, _SMALL = 0.25, 0.02
"""Shares of the picture's area from which a region is called large, and below which small."""


class Annotations:
    """Describes what people have already marked and named."""

    model = "annotations"
    version = "1"
    sees = False
    batch = 500

    def places(self, item: Item) -> Sequence[Place]:
        """One text for each labelled region, and one that counts them."""
        regions = [Place("region", region.number) for region in item.regions if region.label]
        return [*regions, Place("concept")] if regions else []

    def describe(
        self, items: Sequence[Item], pictures: Sequence[PIL.Image.Image]
    ) -> list[Mapping[Place, str]]:
        """The words for each item's `todo`."""
        del pictures
        return [{place: _words(item, place) for place in item.todo} for item in items]

    def stated(self) -> str:
        """It needs nothing."""
        return "from annotations, without a model"


def _words(item: Item, place: Place) -> str:
    if place.kind == "concept":
        counts = Counter(region.label for region in item.regions if region.label)
        return ", ".join(f"{n} {label}" for label, n in sorted(counts.items()))
    region = next(region for region in item.regions if region.number == place.region)
    size, where = size_of(region, item.width, item.height), place_of(region, item)
    article = "an" if (size or region.label)[0] in "aeiou" else "a"
    words = f"{article} {size} {region.label}" if size else f"{article} {region.label}"
    return f"{words} in the {where} of the picture"


def place_of(region: Region, item: Item) -> str:
    """Where the middle of a region lies, on a grid of three by three.

    >>> place_of(Region(0, (0, 0, 10, 10)), Item(1, 100, 100, (), ()))
    'top left'
    """
    x1, y1, x2, y2 = region.box
    row = _ROWS[min(int((y1 + y2) / 2 / item.height * 3), 2)]
    column = _COLUMNS[min(int((x1 + x2) / 2 / item.width * 3), 2)]
    return "centre" if (row, column) == ("middle", "centre") else f"{row} {column}"


def size_of(region: Region, width: int, height: int) -> str:
    """Large, small, or nothing for what is between, by the share of the picture's area."""
    share = region.area / (width * height)
    return "large" if share >= _LARGE else "small" if share < _SMALL else ""
