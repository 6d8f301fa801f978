"""An image and texts about it -> what is shown: regions chosen, renumbered and drawn in one place.

Labels, critic, student and demo all go through here, so that `[n]` in a text is always the mark
numbered n on the picture beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from regions import references
from regions.geometry import Region
from regions.marks import Style, draw


@dataclass(frozen=True, slots=True)
class View:
    """A picture with its marks, the regions in its pixels, and texts in their numbers."""

    image: Image.Image
    regions: tuple[Region, ...]
    texts: tuple[str, ...]


def view(
    image: Image.Image,
    regions: Sequence[Region],
    texts: Sequence[str],
    *,
    shown: Sequence[int],
    size: tuple[int, int] | None = None,
    style: Style | None = "numbered",
) -> View:
    """Show the regions `shown`, numbered from 0 in that order, at `size` (width, height) in pixels.

    The image is resized first and marked after, or not at all without a style. ValueError for a
    text about a region not shown.
    """
    by_number = {region.number: region for region in regions}
    if lost := [number for number in shown if number not in by_number]:
        raise ValueError(f"there is no region [{lost[0]}] to show")
    mapping = {old: new for new, old in enumerate(shown)}
    width, height = size or image.size
    sx, sy = width / image.width, height / image.height
    chosen = tuple(by_number[old].scaled(sx, sy).with_number(new) for old, new in mapping.items())
    resized = image if size is None else image.resize(size, Image.Resampling.BICUBIC)
    return View(
        resized if style is None else draw(resized, chosen, style=style),
        chosen,
        tuple(references.renumber(text, mapping) for text in texts),
    )


def choose_visible(
    mentioned: Sequence[int], available: Sequence[int], *, own: float, rng: np.random.Generator
) -> list[int]:
    """The paper's augmentation: with probability `own` the triple's regions, else all; shuffled."""
    chosen = mentioned if mentioned and rng.random() < own else available
    return [chosen[i] for i in rng.permutation(len(chosen))]
