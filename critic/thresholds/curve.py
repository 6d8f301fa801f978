"""Precision, recall and F1 of accepting at every threshold, with bootstrap intervals over images.

A triple is kept if `score >= threshold`; accept is the positive class. Undefined values, such as
the precision of an empty selection, are nan. The bootstrap resamples images, because triples of the
same image are correlated.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Precision and recall of accepting, F1, and the share of the triples kept at a threshold."""

    precision: float
    recall: float
    f1: float
    kept_share: float


@dataclass(frozen=True, slots=True)
class ThresholdCurve:
    """One entry per distinct score, ascending; all arrays have shape (thresholds,).

    `precision` and `recall` are those of accepting, `kept_share` is a share of the triples.
    """

    thresholds: Floats
    precision: Floats
    recall: Floats
    f1: Floats
    kept_share: Floats

    def at(self, threshold: float) -> CurvePoint:
        """The values at any threshold."""
        i = int(np.searchsorted(self.thresholds, threshold, side="left"))
        if i == len(self.thresholds):
            return CurvePoint(np.nan, 0.0, 0.0, 0.0)
        arrays = (self.precision, self.recall, self.f1, self.kept_share)
        return CurvePoint(*(float(array[i]) for array in arrays))


def threshold_curve(accepted: ArrayLike, scores: ArrayLike) -> ThresholdCurve:
    """The curve of scores against labels, both of shape (triples,).

    Recall and F1 are nan if no triple is accepted.

    >>> threshold_curve([0, 1, 1], [.2, .4, .9]).at(.4)
    CurvePoint(precision=1.0, recall=1.0, f1=1.0, kept_share=0.6666666666666666)
    """
    labels, values = np.asarray(accepted, dtype=bool), np.asarray(scores, dtype=float)
    order = np.argsort(-values, kind="stable")
    descending = values[order]
    last = np.flatnonzero(np.diff(descending, append=-np.inf))  # the last triple of each score
    true_positives = np.cumsum(labels[order])[last]
    kept = last + 1
    positives = labels.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        return ThresholdCurve(
            descending[last][::-1],
            (true_positives / kept)[::-1],
            np.where(positives, true_positives / positives, np.nan)[::-1],
            np.where(positives, 2 * true_positives / (kept + positives), np.nan)[::-1],
            (kept / len(labels))[::-1],
        )


def average_precision(accepted: ArrayLike, scores: ArrayLike) -> float:
    """Average precision as scikit-learn defines it; nan if no triple is accepted."""
    curve = threshold_curve(accepted, scores)
    steps = curve.recall - np.append(curve.recall[1:], 0.0)
    return float(np.sum(steps * curve.precision))


def precision_in_top(accepted: ArrayLike, scores: ArrayLike, share: float = 0.2) -> float:
    """Precision among the highest-scoring `share` of the triples, at least one of them."""
    labels, values = np.asarray(accepted, dtype=bool), np.asarray(scores, dtype=float)
    best = np.argsort(-values, kind="stable")[: max(1, round(share * len(values)))]
    return float(labels[best].mean())


def bootstrap_intervals(
    accepted: ArrayLike,
    scores: ArrayLike,
    image_ids: ArrayLike,
    statistics: Callable[[NDArray[np.bool_], Floats], Floats],
    *,
    resamples: int,
    rng: np.random.Generator,
) -> Floats:
    """95 % percentile intervals of statistics, resampling images with replacement.

    `accepted`, `scores` and `image_ids` have shape (triples,). `statistics` maps labels and scores
    of a resample to shape (k,). Returns shape (k, 2); nan where a statistic is undefined in more
    than half of the resamples.
    """
    labels, values = np.asarray(accepted, dtype=bool), np.asarray(scores, dtype=float)
    rows_by_image = _rows_by_image(np.asarray(image_ids))
    samples = []
    for _ in range(resamples):
        drawn = rng.integers(len(rows_by_image), size=len(rows_by_image))
        rows = np.concatenate([rows_by_image[i] for i in drawn])
        samples.append(statistics(labels[rows], values[rows]))
    return _percentiles(np.array(samples))


def bootstrap_bands(
    accepted: ArrayLike,
    scores: ArrayLike,
    image_ids: ArrayLike,
    thresholds: Floats,
    *,
    resamples: int,
    rng: np.random.Generator,
) -> dict[str, Floats]:
    """95 % percentile bands of precision, recall and f1: name -> shape (thresholds, 2).

    The kept and the correctly kept triples of each image are counted once at every threshold. A
    resample is then the product of these counts with how often each image was drawn.
    """
    labels, values = np.asarray(accepted, dtype=bool), np.asarray(scores, dtype=float)
    rows_by_image = _rows_by_image(np.asarray(image_ids))
    n_images = len(rows_by_image)
    kept = np.array([_count_at_least(values[rows], thresholds) for rows in rows_by_image])
    correct = np.array(
        [_count_at_least(values[rows][labels[rows]], thresholds) for rows in rows_by_image]
    )
    positives = np.array([labels[rows].sum() for rows in rows_by_image])
    draws = rng.multinomial(n_images, np.full(n_images, 1 / n_images), size=resamples)
    all_kept, all_correct, all_positives = draws @ kept, draws @ correct, draws @ positives
    with np.errstate(invalid="ignore", divide="ignore"):
        samples = {
            "precision": all_correct / all_kept,
            "recall": all_correct / all_positives[:, None],
            "f1": 2 * all_correct / (all_kept + all_positives[:, None]),
        }
    return {name: _percentiles(sample) for name, sample in samples.items()}


def _percentiles(samples: Floats) -> Floats:
    """Shape (resamples, k) -> (k, 2); nan where more than half of the samples are undefined."""
    undefined = np.isnan(samples).mean(axis=0) > 0.5  # noqa: PLR2004 - half
    interval = np.full((2, samples.shape[1]), np.nan)
    interval[:, ~undefined] = np.nanpercentile(samples[:, ~undefined], [2.5, 97.5], axis=0)
    return interval.T


def _count_at_least(values: Floats, thresholds: Floats) -> NDArray[np.int64]:
    """The number of values at or above each threshold."""
    return len(values) - np.searchsorted(np.sort(values), thresholds, side="left")


def _rows_by_image(image_ids: NDArray[np.generic]) -> list[NDArray[np.int64]]:
    """The row numbers of each image."""
    _, inverse = np.unique(image_ids, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    return np.split(order, np.cumsum(np.bincount(inverse))[:-1])
