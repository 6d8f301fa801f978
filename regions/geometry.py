"""Regions of an image: boxes and polygons in pixels of the original; every region has an area."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels, x1 < x2 and y1 < y2."""

Polygon = tuple[tuple[float, float], ...]
"""At least three corners (x, y) in pixels; the last one is joined to the first."""

ROUNDING = 1.0
"""Pixels by which a box may leave its picture and still be right: tools round differently."""


@dataclass(frozen=True, slots=True)
class Region:
    """A numbered part of an image: `[number]` in a text means it. ValueError if it has no area.

    >>> Region(3, (10, 10, 30, 20)).scaled(2, 1)
    Region(number=3, box=(20, 10, 60, 20), polygons=(), label='')
    """

    number: int
    box: Box
    polygons: tuple[Polygon, ...] = ()
    """The outline, in parts if something hides some of it; empty where only the box is known."""
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
        """Square pixels: of the polygons (shoelace formula) if there are some, else of the box."""
        if not self.polygons:
            return _area(self.box)
        return sum(
            abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in _edges(polygon))) / 2
            for polygon in self.polygons
        )

    def contains(self, x: float, y: float) -> bool:
        """Tell whether the point lies in a polygon if there are some, else in the box; edges do."""
        x1, y1, x2, y2 = self.box
        if not self.polygons:
            return x1 <= x <= x2 and y1 <= y <= y2
        return any(_point_in_polygon(polygon, x, y) for polygon in self.polygons)

    def scaled(self, sx: float, sy: float) -> "Region":
        """Return the same region of the image resized by `sx` and `sy`."""
        x1, y1, x2, y2 = self.box
        polygons = tuple(tuple((x * sx, y * sy) for x, y in ring) for ring in self.polygons)
        return replace(self, box=(x1 * sx, y1 * sy, x2 * sx, y2 * sy), polygons=polygons)

    def with_number(self, n: int) -> "Region":
        """Return the same region under another number."""
        return replace(self, number=n)


def fit_within(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height at which no side is longer than `side`; never larger than before.

    >>> fit_within(400, 200, 100), fit_within(40, 20, 100)
    ((100, 50), (40, 20))
    """
    by = min(1.0, side / max(width, height))
    return max(1, round(width * by)), max(1, round(height * by))


def box_error(box: Sequence[object], width: int, height: int) -> str | None:
    """Return why `box`, as read from a file, is no box of a `width` x `height` picture, else None.

    >>> box_error([30, 10, 10, 20], 640, 480)
    'x2 <= x1: inverted or empty'
    >>> box_error([0, 0, 640.4, 480], 640, 480) is None  # rounding; see clip
    True
    """
    if len(box) != 4:  # noqa: PLR2004 - x1, y1, x2, y2
        return f"{len(box)} values where 4 are needed"
    x1, y1, x2, y2 = (v if type(v) is float or type(v) is int else math.nan for v in box)
    if not math.isfinite(x1 + y1 + x2 + y2):
        return f"not a number: {list(box)!r:.80}"
    if x2 <= x1 or y2 <= y1:
        return f"{'x2 <= x1' if x2 <= x1 else 'y2 <= y1'}: inverted or empty"
    overshoot = max(-x1, -y1, x2 - width, y2 - height)
    left_over = min(x2, width) > max(x1, 0) and min(y2, height) > max(y1, 0)
    if overshoot > ROUNDING or not left_over:
        return f"outside the picture {width}x{height}: {[x1, y1, x2, y2]}"
    return None


def clip(box: Box, width: int, height: int) -> Box:
    """Cut a box that `box_fault` accepts to its picture.

    >>> clip((-0.3, 5.0, 640.4, 20.0), 640, 480)
    (0, 5.0, 640, 20.0)
    """
    x1, y1, x2, y2 = box
    return max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)


def iou(a: Box, b: Box) -> float:
    """Intersection over union, 0 (apart) to 1 (the same box).

    >>> iou((0, 0, 2, 1), (1, 0, 3, 1)) == 1 / 3
    True
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (_area(a) + _area(b) - both)


def region_at(regions: Iterable[Region], x: float, y: float) -> Region | None:
    """Return the region that a click means: the smallest under it; of equals the lowest number."""
    under = (region for region in regions if region.contains(x, y))
    return min(under, key=lambda region: (region.area, region.number), default=None)


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
