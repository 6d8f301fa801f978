"""Precision, recall and F1 of accepting, at every threshold; intervals by resampling images.

A triple is kept if `score >= threshold`. Accept is 1. What is undefined (a precision where nothing
is kept) is nan. Images are resampled, not triples: those of one image fall and rise together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """One entry for each distinct score, rising: all arrays have shape (thresholds,).

    `precision` and `recall` are of accepting, `kept` is a share of the triples.
    """

    thresholds: Floats
    precision: Floats
    recall: Floats
    f1: Floats
    kept: Floats

    def at(self, threshold: float) -> dict[str, float]:
        """Precision, recall, F1 and share kept at any threshold; nan where undefined."""
        i = int(np.searchsorted(self.thresholds, threshold, side="left"))
        if i == len(self.thresholds):
            return {"precision": np.nan, "recall": 0.0, "f1": 0.0, "kept": 0.0}
        arrays = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {name: float(a[i]) for name, a in (arrays | {"kept": self.kept}).items()}


def curve(accepted: ArrayLike, scores: ArrayLike) -> Curve:
    """The curve of `scores` against labels, both of shape (triples,); recall needs an acceptance.

    >>> curve([0, 1, 1], [.2, .4, .9]).at(.4)
    {'precision': 1.0, 'recall': 1.0, 'f1': 1.0, 'kept': 0.6666666666666666}
    """
    labels, values = np.asarray(accepted, dtype=bool), np.asarray(scores, dtype=float)
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    last = np.flatnonzero(np.diff(ordered, append=-np.inf))  # the last triple of each score
    right = np.cumsum(labels[order])[last]
    kept = last + 1
    positives = labels.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        return Curve(
            ordered[last][::-1],
            (right / kept)[::-1],
            np.where(positives, right / positives, np.nan)[::-1],
            np.where(positives, 2 * right / (kept + positives), np.nan)[::-1],
            (kept / len(labels))[::-1],
        )


def average_precision(accepted: ArrayLike, scores: ArrayLike) -> float:
    """The mean of precision over the accepted triples, ties as one; nan without any of them."""
    c = curve(accepted, scores)
    steps = c.recall - np.append(c.recall[1:], 0.0)
    return float(np.sum(steps * c.precision))


def precision_in_top(accepted: ArrayLike, scores: ArrayLike, share: float = 0.2) -> float:
    """Precision among the `share` of triples with the best scores, at least one."""
    labels, values = np.asarray(accepted, dtype=bool), np.asarray(scores, dtype=float)
    best = np.argsort(-values, kind="stable")[: max(1, round(share * len(values)))]
    return float(labels[best].mean())


def intervals(
    accepted: ArrayLike,
    scores: ArrayLike,
    images: ArrayLike,
    statistics: Callable[[NDArray[np.bool_], Floats], Floats],
    *,
    resamples: int,
    rng: np.random.Generator,
) -> Floats:
    """95 % percentile intervals of some statistics when images, shape (triples,), are redrawn.

    `statistics` gives shape (k,) for a resample; returns (k, 2), nan for what is never defined.
    """
    labels, values = np.asarray(accepted, dtype=bool), np.asarray(scores, dtype=float)
    members = _members(np.asarray(images))
    found = []
    for _ in range(resamples):
        drawn = rng.integers(len(members), size=len(members))
        rows = np.concatenate([members[i] for i in drawn])
        found.append(statistics(labels[rows], values[rows]))
    return _percentiles(np.array(found))


def bands(
    accepted: ArrayLike,
    scores: ArrayLike,
    images: ArrayLike,
    thresholds: Floats,
    *,
    resamples: int,
    rng: np.random.Generator,
) -> dict[str, Floats]:
    """95 % percentile intervals of the whole curve: name -> shape (thresholds, 2).

    Per image, the kept and the rightly kept are counted once at every threshold; a resample is then
    a product of how often each image was drawn with those counts.
    """
    labels, values = np.asarray(accepted, dtype=bool), np.asarray(scores, dtype=float)
    members = _members(np.asarray(images))
    kept = np.array([_at_least(values[rows], thresholds) for rows in members])
    right = np.array([_at_least(values[rows][labels[rows]], thresholds) for rows in members])
    positives = np.array([labels[rows].sum() for rows in members])
    drawn = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=resamples)
    all_kept, all_right, all_positives = drawn @ kept, drawn @ right, drawn @ positives
    with np.errstate(invalid="ignore", divide="ignore"):
        statistics = {
            "precision": all_right / all_kept,
            "recall": all_right / all_positives[:, None],
            "f1": 2 * all_right / (all_kept + all_positives[:, None]),
        }
    return {name: _percentiles(found) for name, found in statistics.items()}


def _percentiles(found: Floats) -> Floats:
    """Shape (resamples, thresholds) -> (thresholds, 2); nan where more than half are undefined."""
    undefined = np.isnan(found).mean(axis=0) > 0.5  # noqa: PLR2004 - half
    interval = np.full((2, found.shape[1]), np.nan)
    interval[:, ~undefined] = np.nanpercentile(found[:, ~undefined], [2.5, 97.5], axis=0)
    return interval.T


def _at_least(values: Floats, thresholds: Floats) -> NDArray[np.int64]:
    """How many values reach each threshold."""
    return len(values) - np.searchsorted(np.sort(values), thresholds, side="left")


def _members(images: NDArray[np.generic]) -> list[NDArray[np.int64]]:
    """The rows of each image."""
    _, inverse = np.unique(images, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    return np.split(order, np.cumsum(np.bincount(inverse))[:-1])
