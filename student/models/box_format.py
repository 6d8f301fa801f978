"""Boxes as families of models write them: thousandths of the picture, or pixels of it."""

from typing import Literal

from regions.geometry import Box

Family = Literal["thousandths", "pixels"]
_PIXELS = frozenset({"qwen2_5_vl"})
"""Families, by transformers' `model_type`, that write pixels; Qwen2-VL, Qwen3-VL and most others
write thousandths."""


def family_of(model_type: str) -> Family:
    """How a family of models writes coordinates."""
    return "pixels" if model_type in _PIXELS else "thousandths"


def written(box: Box, size: tuple[int, int], family: Family) -> list[int]:
    """A box in pixels of a picture of `size` (width, height), as a family writes it.

    >>> written((10, 20, 50, 40), (100, 80), "thousandths")
    [100, 250, 500, 500]
    """
    whole = size if family == "pixels" else (1000, 1000)
    values = zip(box, (*size, *size), (*whole, *whole), strict=True)
    return [round(value / side * unit) for value, side, unit in values]


def read(values: list[int], size: tuple[int, int], family: Family) -> Box:
    """What `written` wrote, in pixels of the picture, within half a unit."""
    whole = size if family == "pixels" else (1000, 1000)
    x1, y1, x2, y2 = (
        value / unit * side
        for value, side, unit in zip(values, (*size, *size), (*whole, *whole), strict=True)
    )
    return x1, y1, x2, y2
