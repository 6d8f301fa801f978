"""Regions of an image: boxes and polygons in pixels; every region has a positive area."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels, x1 < x2 and y1 < y2."""

Polygon = tuple[tuple[float, float], ...]
"""At least three corners (x, y) in pixels; the last is connected to the first."""

MAX_OVERSHOOT = 1.0
"""Pixels by which a box may exceed its image, as a rounding error."""


@dataclass(frozen=True, slots=True)
class Region:
    """A numbered region of an image, to which `[number]` in a text refers.

    ValueError if it has no area.

    >>> Region(3, (10, 10, 30, 20)).scaled(2, 1)
    Region(number=3, box=(20, 10, 60, 20), polygons=(), label='')
    """

    number: int
    box: Box
    polygons: tuple[Polygon, ...] = ()
    """The outline, in several parts if it is occluded; empty if only the box is known."""
    label: str = ""

    def __post_init__(self) -> None:
        x1, y1, x2, y2 = self.box
        if self.number < 0:
            raise ValueError(f"region number {self.number} is negative")
        if not (x1 < x2 and y1 < y2):  # also refuses NaN
            raise ValueError(f"region [{self.number}] has no area: {self.box}")
        if any(len(polygon) < 3 for polygon in self.polygons):  # noqa: PLR2004 - a triangle
            raise ValueError(f"region [{self.number}]: a polygon needs three corners")

    @property
    def area(self) -> float:
        """Area of the polygons (shoelace formula) if there are any, else of the box, in pixels."""
        if not self.polygons:
            return _area(self.box)
        return sum(
            abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in _edges(polygon))) / 2
            for polygon in self.polygons
        )

    def contains(self, x: float, y: float) -> bool:
        """Whether the point is in a polygon if there are any, else in the box.

        Edges and corners are included, so that a polygon that traces a box contains the same points
        as the box.
        """
        x1, y1, x2, y2 = self.box
        if not self.polygons:
            return x1 <= x <= x2 and y1 <= y <= y2
        return any(_point_in_polygon(polygon, x, y) for polygon in self.polygons)

    def scaled(self, sx: float, sy: float) -> "Region":
        """Return the region in an image that is resized by the factors `sx` and `sy`."""
        x1, y1, x2, y2 = self.box
        polygons = tuple(tuple((x * sx, y * sy) for x, y in ring) for ring in self.polygons)
        return replace(self, box=(x1 * sx, y1 * sy, x2 * sx, y2 * sy), polygons=polygons)

    def with_number(self, n: int) -> "Region":
        """Return the region with another number."""
        return replace(self, number=n)


def fit_within(width: int, height: int, max_side: int) -> tuple[int, int]:
    """Return width and height, reduced in proportion so that no side is longer than `max_side`.

    >>> fit_within(400, 200, 100), fit_within(40, 20, 100)
    ((100, 50), (40, 20))
    """
    scale = min(1.0, max_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def box_error(box: Sequence[object], width: int, height: int) -> str | None:
    """Return why `box`, read from a file, is not a box of a `width` x `height` image, else None.

    >>> box_error([30, 10, 10, 20], 640, 480)
    'x2 <= x1: inverted or empty'
    >>> box_error([0, 0, 640.4, 480], 640, 480) is None  # rounding; see clip
    True
    """
    if len(box) != 4:  # noqa: PLR2004 - x1, y1, x2, y2
        return f"{len(box)} values instead of 4"
    x1, y1, x2, y2 = (v if type(v) is float or type(v) is int else math.nan for v in box)
    if not math.isfinite(x1 + y1 + x2 + y2):
        return f"not a number: {list(box)!r:.80}"
    if x2 <= x1 or y2 <= y1:
        return f"{'x2 <= x1' if x2 <= x1 else 'y2 <= y1'}: inverted or empty"
    overshoot = max(-x1, -y1, x2 - width, y2 - height)
    overlaps = min(x2, width) > max(x1, 0) and min(y2, height) > max(y1, 0)
    if overshoot > MAX_OVERSHOOT or not overlaps:
        return f"outside the image of {width}x{height}: {[x1, y1, x2, y2]}"
    return None


def clip(box: Box, width: int, height: int) -> Box:
    """Clip a box that `box_error` accepts to its image.

    >>> clip((-0.3, 5.0, 640.4, 20.0), 640, 480)
    (0, 5.0, 640, 20.0)
    """
    x1, y1, x2, y2 = box
    return max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union, from 0 (disjoint) to 1 (equal).

    >>> iou((0, 0, 2, 1), (1, 0, 3, 1)) == 1 / 3
    True
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    intersection = width * height
    return intersection / (_area(a) + _area(b) - intersection)


def region_at(regions: Iterable[Region], x: float, y: float) -> Region | None:
    """Return the region that a click selects: the smallest; among equals, the lowest number.

    `regionAt` of annotator/canvas/geometry.js is the same rule in the browser.
    """
    candidates = (region for region in regions if region.contains(x, y))
    return min(candidates, key=lambda region: (region.area, region.number), default=None)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _point_in_polygon(polygon: Polygon, x: float, y: float) -> bool:
    inside = False
    for a, b in _edges(polygon):
        if _on_edge(x, y, a, b):
            return True
        (ax, ay), (bx, by) = a, b
        if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
            inside = not inside
    return inside


def _edges(polygon: Polygon) -> Iterable[tuple[tuple[float, float], tuple[float, float]]]:
    return pairwise((*polygon, polygon[0]))


def _on_edge(x: float, y: float, a: tuple[float, float], b: tuple[float, float]) -> bool:
    (ax, ay), (bx, by) = a, b
    between = min(ax, bx) <= x <= max(ax, bx) and min(ay, by) <= y <= max(ay, by)
    return between and (x - ax) * (by - ay) == (y - ay) * (bx - ax)
