"""Soft targets for classifiers that take labels of 0 and 1."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critic.protocol import Targets


@dataclass(frozen=True, slots=True)
class WeightedLabels:
    """Rows to fit on, shape (rows,): the number of the example, its label 0 or 1, its weight."""

    index: NDArray[np.int64]
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]


def weighted_labels(targets: Sequence[Targets]) -> WeightedLabels:
    """A row for each target, and one more for those between 0 and 1.

    A target of probability p is a label 1 with weight p and a label 0 with weight 1 - p, so that
    the weighted cross entropy is that of the target.

    >>> rows = weighted_labels([Targets(True), Targets(False), Targets(True, soft=0.75)])
    >>> rows.index.tolist(), rows.labels.tolist(), rows.weights.tolist()
    ([0, 1, 2, 2], [1, 0, 1, 0], [1.0, 1.0, 0.75, 0.25])
    """
    p = np.array([target.probability for target in targets], dtype=np.float64)
    index = np.repeat(np.arange(len(p)), np.where((p > 0) & (p < 1), 2, 1))
    is_second = np.r_[False, index[1:] == index[:-1]][: len(index)]
    labels = np.where(is_second, 0, p[index] > 0).astype(np.int64)
    return WeightedLabels(index, labels, np.where(labels == 1, p[index], 1 - p[index]))
