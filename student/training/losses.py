"""The loss of a text: the mean over its words that count, each text weighing the same."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

IGNORED = -100
"""The label of a word that does not count."""


def per_text(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Nats a token, shape (texts,), of `labels` (texts, tokens).

    `logits` (counted, words) are those of the words that count, in their order.
    """
    counted = labels != IGNORED
    losses = logits.new_zeros(labels.shape, dtype=torch.float32)
    losses[counted] = cross_entropy(
        logits.float(), labels[counted], reduction="none", label_smoothing=smoothing
    )
    means: Tensor = losses.sum(1) / counted.sum(1).clamp(min=1)
    return means


def padded(rows: list[list[int]], value: int) -> Tensor:
    """Rows of unlike length as one tensor, with `value` behind them."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])
