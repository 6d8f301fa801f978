"""Describes labelled regions from their annotations, without a model.

A text per labelled region says what it is, where it lies and how large it is; one more text per
image counts the labels.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import PIL.Image

from generation.verbalize.protocol import DescriberInput, Target
from regions.geometry import Region

_ROWS = ("top", "middle", "bottom")
_COLUMNS = ("left", "centre", "right")
_LARGE, _SMALL = 0.25, 0.02
"""Shares of the image's area: large from, small below."""


class Annotations:
    """Describes regions by label, position and size."""

    model = "annotations"
    version = "1"
    needs_image = False
    batch_size = 500

    def targets(self, item: DescriberInput) -> Sequence[Target]:
        """Return each labelled region, and the counts of labels."""
        regions = [Target("region", region.number) for region in item.regions if region.label]
        return [*regions, Target("concept")] if regions else []

    def describe(
        self, items: Sequence[DescriberInput], images: Sequence[PIL.Image.Image]
    ) -> list[Mapping[Target, str]]:
        """Return a text for each pending target of each item."""
        del images
        return [{target: _text(item, target) for target in item.pending} for item in items]

    def device_summary(self) -> str:
        """Return a note that there is no model."""
        return "from annotations, without a model"


def _text(item: DescriberInput, target: Target) -> str:
    if target.kind == "concept":
        counts = Counter(region.label for region in item.regions if region.label)
        return ", ".join(f"{n} {label}" for label, n in sorted(counts.items()))
    region = next(region for region in item.regions if region.number == target.region)
    size, position = size_of(region, item.width, item.height), position_of(region, item)
    article = "an" if (size or region.label)[0] in "aeiou" else "a"
    phrase = f"{article} {size} {region.label}" if size else f"{article} {region.label}"
    return f"{phrase} in the {position} of the picture"


def position_of(region: Region, item: DescriberInput) -> str:
    """Return where the centre of a region lies on a grid of three by three.

    >>> position_of(Region(0, (0, 0, 10, 10)), DescriberInput(1, 100, 100, (), ()))
    'top left'
    """
    x1, y1, x2, y2 = region.box
    row = _ROWS[min(int((y1 + y2) / 2 / item.height * 3), 2)]
    column = _COLUMNS[min(int((x1 + x2) / 2 / item.width * 3), 2)]
    return "centre" if (row, column) == ("middle", "centre") else f"{row} {column}"


def size_of(region: Region, width: int, height: int) -> str:
    """Return `large`, `small`, or an empty text, by the region's share of the image's area."""
    share = region.area / (width * height)
    return "large" if share >= _LARGE else "small" if share < _SMALL else ""
