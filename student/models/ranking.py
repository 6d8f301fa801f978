"""Ranking of answers by a model's score of each choice, and losses of examples."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from student.models.protocol import Example, ImageExamples, Query, Scores, TrainableStudent

_BATCH_SIZE = 64
"""Choices per forward pass."""


@torch.inference_mode()
def rank_choices(
    score: Callable[[Sequence[ImageExamples]], Tensor],
    queries: Sequence[Query],
    choices: Sequence[Sequence[str]],
) -> list[Scores]:
    """Return the score of each choice, one array per query.

    `score` returns one number per example. Choices of one query share a pass of its image.
    """
    pairs = [(n, text) for n, texts in enumerate(choices) for text in texts]
    scores: list[float] = []
    for start in range(0, len(pairs), _BATCH_SIZE):
        batch = _as_examples(queries, pairs[start : start + _BATCH_SIZE])
        scores += score(batch).float().cpu().tolist()
    ends = np.cumsum([len(texts) for texts in choices])
    return [np.array(part) for part in np.split(np.array(scores), ends[:-1])]


def rank_by_likelihood(
    student: TrainableStudent, queries: Sequence[Query], choices: Sequence[Sequence[str]]
) -> list[Scores]:
    """Score choices by their mean log-likelihood per token."""
    student.network.eval()
    return rank_choices(
        lambda batch: -student.example_losses(student.network, batch, 0), queries, choices
    )


@torch.inference_mode()
def mean_example_loss(student: TrainableStudent, batch: Sequence[ImageExamples]) -> float:
    """Return the mean loss over the examples, in nats per token; one image at a time."""
    student.network.eval()
    losses = [student.example_losses(student.network, [group], 0) for group in batch]
    return float(torch.cat(losses).mean())


def _as_examples(queries: Sequence[Query], pairs: Sequence[tuple[int, str]]) -> list[ImageExamples]:
    answers: dict[int, list[str]] = {}
    for n, text in pairs:
        answers.setdefault(n, []).append(text)
    return [
        ImageExamples(
            0,
            queries[n].view,
            (),
            tuple(
                Example(0, queries[n].question or "", text, turns=queries[n].turns)
                for text in texts
            ),
        )
        for n, texts in answers.items()
    ]
