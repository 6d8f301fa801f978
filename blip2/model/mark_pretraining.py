"""Pretrain a tiny vision tower to recognise marks, as a real one does from its web data.

For each patch it predicts which numbered outlines cross it. A randomly initialised tower that is
not pretrained would have to be trained jointly with all else, which takes far longer.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from blip2.model.encoder import to_pixel_values
from regions.geometry import Region
from regions.marks import Style, draw_regions

MAX_NUMBERS = 12
"""Region numbers that the tower learns: 0 to 11."""
_BATCH_SIZE, _LEARNING_RATE, _WARMUP_STEPS = 32, 3e-3, 30
_MAX_REGIONS = 5
"""Regions drawn on an image."""


def pretrain_on_marks(
    tower: Any,  # noqa: ANN401 - of transformers
    images: Sequence[Image.Image],
    *,
    steps: int,
    seed: int,
    style: Style = "numbered",
    progress: Callable[[int], None] = lambda _: None,
) -> float:
    """Train a tower on random crops with random regions; return the loss of the last step."""
    size, patch_size = int(tower.config.image_size), int(tower.config.patch_size)
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    head = nn.Linear(tower.config.hidden_size, MAX_NUMBERS + 2)
    positions = torch.from_numpy(_patch_positions(size // patch_size))
    optimizer = torch.optim.AdamW([*tower.parameters(), *head.parameters()], lr=_LEARNING_RATE)
    last_loss = float("nan")
    resized = [image.resize((2 * size, 2 * size)) for image in images]
    tower.train()
    for step in range(steps):
        crops = [
            _random_crop(resized[rng.integers(len(resized))], size, rng) for _ in range(_BATCH_SIZE)
        ]
        marked = [draw_regions(crop, regions, style=style) for crop, regions in crops]
        targets = [outline_patches(regions, size, patch_size) for _, regions in crops]
        for group in optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * _schedule(step, steps)
        patches = tower(pixel_values=to_pixel_values(marked)).last_hidden_state[:, 1:]
        outputs = head(patches)
        loss = binary_cross_entropy_with_logits(
            outputs[..., :MAX_NUMBERS], torch.from_numpy(np.stack(targets))
        )
        loss = loss + (outputs[..., MAX_NUMBERS:] - positions).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        last_loss = float(loss.detach())
        progress(step + 1)
    tower.eval()
    return last_loss


def outline_patches(regions: Sequence[Region], size: int, patch_size: int) -> NDArray[np.float32]:
    """Return which outlines cross each patch: shape (patches, MAX_NUMBERS), 0 or 1."""
    low = np.arange(size // patch_size) * patch_size
    high = low + patch_size
    targets = np.zeros((len(low), len(low), MAX_NUMBERS), np.float32)
    for region in regions:
        x1, y1, x2, y2 = region.box
        touched = np.outer((high >= y1) & (low <= y2), (high >= x1) & (low <= x2))
        inside = np.outer((low > y1) & (high < y2), (low > x1) & (high < x2))
        targets[..., region.number] = touched & ~inside
    return targets.reshape(-1, MAX_NUMBERS)


def _schedule(step: int, steps: int) -> float:
    """Return the share of the learning rate: linear warm-up and linear decay to a tenth."""
    return min(1, (step + 1) / _WARMUP_STEPS) * (1 - 0.9 * step / steps)


def _patch_positions(per_side: int) -> NDArray[np.float32]:
    """Return the position of each patch, from -1 to 1: shape (patches, 2)."""
    axis = np.linspace(-1, 1, per_side, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


def _random_crop(
    image: Image.Image, size: int, rng: np.random.Generator
) -> tuple[Image.Image, list[Region]]:
    """Return a crop of an image of twice the size, and random regions in it."""
    side = int(rng.integers(size, 2 * size + 1))
    x, y = (int(offset) for offset in rng.integers(0, 2 * size - side + 1, 2))
    crop = image.crop((x, y, x + side, y + side)).resize((size, size))
    regions = []
    for number in rng.permutation(MAX_NUMBERS)[: rng.integers(1, _MAX_REGIONS + 1)]:
        width, height = rng.uniform(0.15 * size, 0.6 * size, 2)
        left, top = rng.uniform(0, size - width), rng.uniform(0, size - height)
        regions.append(Region(int(number), (left, top, left + width, top + height)))
    return crop, regions
