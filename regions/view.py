"""Model inputs from an image and texts: regions are selected, renumbered and drawn in one place.

Critic and student see images only as views, so that `[n]` in a text is the mark numbered n.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from regions import references
from regions.geometry import Region
from regions.marks import Style, draw_regions


@dataclass(frozen=True, slots=True)
class View:
    """An image with marks, its visible regions in its pixels, and texts that use their numbers."""

    image: Image.Image
    regions: tuple[Region, ...]
    texts: tuple[str, ...]


def make_view(
    image: Image.Image,
    regions: Sequence[Region],
    texts: Sequence[str],
    *,
    visible: Sequence[int],
    size: tuple[int, int] | None = None,
    style: Style | None = "numbered",
) -> View:
    """Draw the regions `visible`, renumbered from 0 in that order, at `size` (width, height).

    Without a style nothing is drawn. ValueError for a text that refers to a region not visible.
    """
    by_number = {region.number: region for region in regions}
    if missing := [number for number in visible if number not in by_number]:
        raise ValueError(f"there is no region [{missing[0]}]")
    new_numbers = {old: new for new, old in enumerate(visible)}
    selected = [by_number[old].with_number(new) for old, new in new_numbers.items()]
    width, height = size or image.size
    sx, sy = width / image.width, height / image.height
    return View(
        draw_regions(image, selected, size=size, style=style),
        tuple(region.scaled(sx, sy) for region in selected),
        tuple(references.renumber(text, new_numbers) for text in texts),
    )


def choose_visible(
    mentioned: Sequence[int],
    available: Sequence[int],
    *,
    p_mentioned: float,
    rng: np.random.Generator,
) -> list[int]:
    """Choose the regions to draw, in random order: the paper's augmentation.

    With probability `p_mentioned` those that the triple mentions, else all that are available.
    """
    numbers = mentioned if mentioned and rng.random() < p_mentioned else available
    return [numbers[i] for i in rng.permutation(len(numbers))]
