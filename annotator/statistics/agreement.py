"""Inter-annotator agreement, with bootstrap intervals over triples.

All coefficients are for nominal categories and missing votes. Notation: n[i, k] votes on item i for
category k, n[i] their sum over k.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ratings = Sequence[tuple[int, int, bool]]
"""Votes as (triple, person, accept)."""

Counts = NDArray[np.float64]
"""Shape (items, categories): n[i, k]."""

_RESAMPLES = 300
_SEED = 0


@dataclass(frozen=True, slots=True)
class AgreementRow:
    """A coefficient with its 95 % interval."""

    name: str
    value: float
    low: float
    high: float


def rating_counts(ratings: Ratings) -> Counts:
    """Counts of the triples with two votes or more, shape (triples, 2): rejections, acceptances."""
    triples, index = np.unique([triple for triple, _, _ in ratings], return_inverse=True)
    counts = np.zeros((len(triples), 2))
    np.add.at(counts, (index, np.array([accept for _, _, accept in ratings], dtype=int)), 1)
    pairable: Counts = counts[counts.sum(axis=1) > 1]
    return pairable


def krippendorff_alpha(counts: Counts) -> float:
    """Alpha: 1 - observed / expected disagreement (Krippendorff 2011), over pairable votes."""
    counts = counts[counts.sum(axis=1) > 1]
    n = counts.sum(axis=1)
    total, per_category = n.sum(), counts.sum(axis=0)
    if total < 2:  # noqa: PLR2004 - a pair
        return float("nan")
    observed = ((n**2 - (counts**2).sum(axis=1)) / (n - 1)).sum() / total
    expected = (total**2 - (per_category**2).sum()) / (total * (total - 1))
    return float(1 - observed / expected) if expected else float("nan")


def fleiss_kappa(counts: Counts) -> float:
    """Kappa (Fleiss 1971); items may have different numbers of votes (Gwet 2014, eq. 2.11)."""
    return _chance_corrected(counts, float((_prevalence(counts) ** 2).sum()))


def gwet_ac1(counts: Counts) -> float:
    """AC1 (Gwet 2008): chance agreement sum(p (1 - p)) / (categories - 1)."""
    p = _prevalence(counts)
    return _chance_corrected(counts, float((p * (1 - p)).sum() / (counts.shape[1] - 1)))


def cohen_kappa(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Kappa of two people (Cohen 1960) over the items that both judged, as category numbers."""
    if not len(first):
        return float("nan")
    categories = np.union1d(first, second)
    observed = float((first == second).mean())
    chance = sum(float((first == k).mean() * (second == k).mean()) for k in categories)
    return (observed - chance) / (1 - chance) if chance < 1 else float("nan")


def mean_cohen_kappa(ratings: Ratings) -> float:
    """Mean of Cohen's kappa over pairs of people, weighted by the triples that both judged."""
    pairs = _vote_pairs(ratings)
    return _mean_kappa(pairs, np.ones(pairs.n_triples))


class _VotePairs(NamedTuple):
    """Each pair of votes on a triple, shapes (pairs of votes,)."""

    triple: NDArray[np.int64]
    people: NDArray[np.int64]
    """Index of the pair of people."""
    first: NDArray[np.bool_]
    """Whether the first one accepts."""
    second: NDArray[np.bool_]
    n_triples: int
    """Triples with two votes or more."""


def _vote_pairs(ratings: Ratings) -> _VotePairs:
    votes = np.array(sorted(ratings), dtype=np.int64).reshape(-1, 3)
    triple, person, accept = votes[:, 0], votes[:, 1], votes[:, 2].astype(bool)
    left, right = [], []
    # Votes of a triple lie side by side, in the order of people: pairs at each distance.
    for distance in range(1, len(votes)):
        is_pair = triple[distance:] == triple[:-distance]
        if not is_pair.any():
            break
        found = np.flatnonzero(is_pair)
        left.append(found)
        right.append(found + distance)
    first = np.concatenate([*left, np.zeros(0, dtype=np.int64)]).astype(np.int64)
    second = np.concatenate([*right, np.zeros(0, dtype=np.int64)]).astype(np.int64)
    triples, index = np.unique(triple[first], return_inverse=True)
    _, people = np.unique(
        np.column_stack([person[first], person[second]]), axis=0, return_inverse=True
    )
    return _VotePairs(index, people.ravel(), accept[first], accept[second], len(triples))


def _mean_kappa(pairs: _VotePairs, weights: NDArray[np.float64]) -> float:
    """`mean_cohen_kappa` with each triple counted as often as its weight says."""
    weight = weights[pairs.triple]

    def total(of: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.bincount(pairs.people, weight * of).astype(np.float64)

    n = np.bincount(pairs.people, weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = total(pairs.first == pairs.second) / n
        first, second = total(pairs.first) / n, total(pairs.second) / n
        chance = first * second + (1 - first) * (1 - second)
        kappas = (observed - chance) / (1 - chance)
    is_defined = np.isfinite(kappas)
    if not is_defined.any():
        return float("nan")
    return float(np.average(kappas[is_defined], weights=n[is_defined]))


COEFFICIENTS: dict[str, Callable[[Counts], float]] = {
    "Krippendorff's alpha": krippendorff_alpha,
    "Fleiss' kappa": fleiss_kappa,
    "Gwet's AC1": gwet_ac1,
}
"""Coefficients that depend on counts alone, by their titles."""

MEAN_COHEN_KAPPA = "Cohen's kappa (mean of pairs)"


def bootstrap_interval(
    coefficient: Callable[[Counts], float], counts: Counts, seed: int = _SEED
) -> tuple[float, float]:
    """95 % percentile interval of a coefficient; triples are drawn with replacement."""
    rng = np.random.default_rng(seed)
    resamples = [
        coefficient(counts[rng.integers(len(counts), size=len(counts))]) for _ in range(_RESAMPLES)
    ]
    finite = [value for value in resamples if np.isfinite(value)]
    if not finite:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


def agreement_summary(ratings: Ratings) -> list[AgreementRow]:
    """Every coefficient that is defined; empty if no triple has two votes."""
    counts = rating_counts(ratings)
    if not len(counts):
        return []
    rows = []
    for name, coefficient in COEFFICIENTS.items():
        value = coefficient(counts)
        if np.isfinite(value):
            rows.append(AgreementRow(name, value, *bootstrap_interval(coefficient, counts)))
    kappa = mean_cohen_kappa(ratings)
    if np.isfinite(kappa):
        rows.append(AgreementRow(MEAN_COHEN_KAPPA, kappa, *_pairwise_interval(ratings)))
    return rows


def alpha_or_none(ratings: Ratings) -> float | None:
    """Krippendorff's alpha; None if it is undefined."""
    alpha = krippendorff_alpha(rating_counts(ratings))
    return alpha if np.isfinite(alpha) else None


def _pairwise_interval(ratings: Ratings) -> tuple[float, float]:
    """As `bootstrap_interval`, for `mean_cohen_kappa`, which depends on who voted what."""
    rng, pairs = np.random.default_rng(_SEED), _vote_pairs(ratings)
    n = pairs.n_triples
    kappas = [
        _mean_kappa(pairs, np.bincount(rng.integers(n, size=n), minlength=n).astype(float))
        for _ in range(_RESAMPLES)
    ]
    low, high = np.nanquantile(kappas, [0.025, 0.975])
    return float(low), float(high)


def _prevalence(counts: Counts) -> NDArray[np.float64]:
    """Mean share of each category over items, shape (categories,)."""
    if not len(counts):
        return np.zeros(counts.shape[1])
    shares: NDArray[np.float64] = (counts / counts.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares


def _chance_corrected(counts: Counts, chance: float) -> float:
    """(observed - chance) / (1 - chance) agreement; nan if undefined."""
    n = counts.sum(axis=1)
    if not len(n) or chance >= 1:
        return float("nan")
    observed = float((((counts * (counts - 1)).sum(axis=1)) / (n * (n - 1))).mean())
    return (observed - chance) / (1 - chance)
