"""Coordinates of boxes as families of models write them: pixels, or thousandths of the image."""

from typing import Literal

from regions.geometry import Box

CoordinateUnit = Literal["thousandths", "pixels"]
_PIXELS = frozenset({"qwen2_5_vl"})
"""Values of transformers' `model_type` that use pixels; Qwen2-VL, Qwen3-VL and most other families
use thousandths."""


def coordinate_unit(model_type: str) -> CoordinateUnit:
    """Return the unit that a family of models was trained with."""
    return "pixels" if model_type in _PIXELS else "thousandths"


def format_box(box: Box, size: tuple[int, int], unit: CoordinateUnit) -> list[int]:
    """Convert a box in pixels of an image of `size` (width, height) to a model's unit.

    >>> format_box((10, 20, 50, 40), (100, 80), "thousandths")
    [100, 250, 500, 500]
    """
    extent = size if unit == "pixels" else (1000, 1000)
    values = zip(box, (*size, *size), (*extent, *extent), strict=True)
    return [round(value / side * units) for value, side, units in values]


def parse_box(values: list[int], size: tuple[int, int], unit: CoordinateUnit) -> Box:
    """Invert `format_box`, within half a unit."""
    extent = size if unit == "pixels" else (1000, 1000)
    x1, y1, x2, y2 = (
        value / units * side
        for value, side, units in zip(values, (*size, *size), (*extent, *extent), strict=True)
    )
    return x1, y1, x2, y2
