"""Token-level cross entropy, averaged per text, and padding of token ids."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

IGNORE_INDEX = -100
"""Label of tokens that do not count towards the loss."""


def per_text_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross entropy per token of each text, in nats, shape (texts,).

    `labels` has shape (texts, tokens); `logits` (counted tokens, vocabulary) has one row for each
    label other than `IGNORE_INDEX`, in their order. `smoothing` is label smoothing.
    """
    counted = labels != IGNORE_INDEX
    losses = logits.new_zeros(labels.shape, dtype=torch.float32)
    losses[counted] = cross_entropy(
        logits.float(), labels[counted], reduction="none", label_smoothing=smoothing
    )
    means: Tensor = losses.sum(1) / counted.sum(1).clamp(min=1)
    return means


def pad_rows(rows: list[list[int]], value: int) -> Tensor:
    """Stack rows of different lengths, padded with `value` on the right."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])
