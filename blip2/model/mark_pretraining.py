"""A tiny tower learns to see marks, before it is frozen: what a real one knows from the web.

For every patch it learns to say which numbered outlines cross it. Without that a tower made from
nothing has to be learned together with all else, which takes far longer.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from blip2.model.encoder import pixels
from regions.geometry import Region
from regions.marks import Style, draw_regions

NUMBERS = 12
"""Regions 0 to 11 are told apart."""
_BATCH, _RATE, _WARM = 32, 3e-3, 30
_MOST = 5
"""Regions drawn at once."""


def pretrain_on_marks(
    tower: Any,  # noqa: ANN401 - of transformers
    pictures: Sequence[Image.Image],
    *,
    steps: int,
    seed: int,
    style: Style = "numbered",
    progress: Callable[[int], None] = lambda _: None,
) -> float:
    """Train a tower on cuts of these pictures with regions drawn at random; the last loss."""
    side, patch = int(tower.config.image_size), int(tower.config.patch_size)
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    head = nn.Linear(tower.config.hidden_size, NUMBERS + 2)
    places = torch.from_numpy(_patch_positions(side // patch))
    weights = [*tower.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=_RATE)
    loss = float("nan")
    small = [picture.resize((2 * side, 2 * side)) for picture in pictures]
    tower.train()
    for step in range(steps):
        drawn = [_random_crop(small[rng.integers(len(small))], side, rng) for _ in range(_BATCH)]
        seen = pixels([draw_regions(picture, regions, style=style) for picture, regions in drawn])
        wanted = torch.from_numpy(np.stack([outline_patches(r, side, patch) for _, r in drawn]))
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1, (step + 1) / _WARM) * (1 - 0.9 * step / steps)
        said = head(tower(pixel_values=seen).last_hidden_state[:, 1:])
        found = binary_cross_entropy_with_logits(said[..., :NUMBERS], wanted)
        found = found + (said[..., NUMBERS:] - places).square().mean()
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
        loss = float(found.detach())
        progress(step + 1)
    tower.eval()
    return loss


def outline_patches(regions: Sequence[Region], side: int, patch: int) -> NDArray[np.float32]:
    """Which outlines cross each patch: shape (patches, NUMBERS), 0 or 1."""
    low = np.arange(side // patch) * patch
    high = low + patch
    found = np.zeros((len(low), len(low), NUMBERS), np.float32)
    for region in regions:
        x1, y1, x2, y2 = region.box
        touched = np.outer((high >= y1) & (low <= y2), (high >= x1) & (low <= x2))
        inside = np.outer((low > y1) & (high < y2), (low > x1) & (high < x2))
        found[..., region.number] = touched & ~inside
    return found.reshape(-1, NUMBERS)


def _patch_positions(patches: int) -> NDArray[np.float32]:
    """Where each patch lies, from -1 to 1: shape (patches * patches, 2)."""
    along = np.linspace(-1, 1, patches, dtype=np.float32)
    return np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)


def _random_crop(
    picture: Image.Image, side: int, rng: np.random.Generator
) -> tuple[Image.Image, list[Region]]:
    """A cut of a picture with some regions in it, by any numbers."""
    cut = int(rng.integers(side, 2 * side + 1))
    x, y = (int(place) for place in rng.integers(0, 2 * side - cut + 1, 2))
    seen = picture.crop((x, y, x + cut, y + cut)).resize((side, side))
    regions = []
    for number in rng.permutation(NUMBERS)[: rng.integers(1, _MOST + 1)]:
        width, height = rng.uniform(0.15 * side, 0.6 * side, 2)
        left, top = rng.uniform(0, side - width), rng.uniform(0, side - height)
        regions.append(Region(int(number), (left, top, left + width, top + height)))
    return seen, regions
