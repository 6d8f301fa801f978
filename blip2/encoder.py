"""Pictures as BLIP-2 takes them. A picture comes here at the model's size, with its marks drawn."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

# CLIP's channels (Radford et al. 2021), which BLIP-2's vision tower was trained on.
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def pixels(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """RGB pictures of one size -> float32, shape (pictures, 3, height, width), normalised."""
    arrays = np.stack([np.asarray(picture.convert("RGB"), np.float32) for picture in pictures])
    normal = (arrays / 255 - _MEAN) / _DEVIATION
    return torch.from_numpy(np.ascontiguousarray(normal.transpose(0, 3, 1, 2)))
