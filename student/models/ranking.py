"""Ranking answers: every choice is a lesson, those about one picture share its pass."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from student.models.protocol import Ask, Lesson, Scene, Scores

_TEXTS = 64
"""Choices at once."""


@torch.inference_mode()
def ranked(
    score: Callable[[Sequence[Scene]], Tensor],
    asks: Sequence[Ask],
    choices: Sequence[Sequence[str]],
) -> list[Scores]:
    """The score of each choice of each question; `score` gives one for each lesson in turn."""
    pairs = [(n, text) for n, some in enumerate(choices) for text in some]
    found: list[float] = []
    for start in range(0, len(pairs), _TEXTS):
        found += score(_scenes(asks, pairs[start : start + _TEXTS])).float().cpu().tolist()
    ends = np.cumsum([len(some) for some in choices])
    return [np.array(part) for part in np.split(np.array(found), ends[:-1])]


def _scenes(asks: Sequence[Ask], pairs: Sequence[tuple[int, str]]) -> list[Scene]:
    by_ask: dict[int, list[str]] = {}
    for n, text in pairs:
        by_ask.setdefault(n, []).append(text)
    return [
        Scene(
            0,
            asks[n].view,
            (),
            tuple(Lesson(0, asks[n].question or "", text, turns=asks[n].turns) for text in texts),
        )
        for n, texts in by_ask.items()
    ]
