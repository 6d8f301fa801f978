"""Inter-annotator agreement, with bootstrap intervals over triples.

All coefficients are for nominal categories and missing votes. Notation: n[i, k] votes on item i for
category k, n[i] their sum over k.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Ratings = Sequence[tuple[int, int, bool]]
"""Votes as (triple, person, accept)."""

Counts = NDArray[np.float64]
"""Shape (items, categories): n[i, k]."""

_RESAMPLES = 300
_PAIR_RESAMPLES = 60
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
    by_person: dict[int, dict[int, bool]] = {}
    for triple, person, accept in ratings:
        by_person.setdefault(person, {})[triple] = accept
    kappas, weights = [], []
    for first, second in combinations(by_person.values(), 2):
        shared = sorted(first.keys() & second.keys())
        kappa = cohen_kappa(
            np.array([first[t] for t in shared], dtype=int),
            np.array([second[t] for t in shared], dtype=int),
        )
        if np.isfinite(kappa):
            kappas.append(kappa)
            weights.append(len(shared))
    return float(np.average(kappas, weights=weights)) if kappas else float("nan")


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
    rng = np.random.default_rng(_SEED)
    by_triple: dict[int, list[tuple[int, bool]]] = {}
    for triple, person, accept in ratings:
        by_triple.setdefault(triple, []).append((person, accept))
    groups = [group for group in by_triple.values() if len(group) > 1]
    kappas = []
    for _ in range(_PAIR_RESAMPLES):
        drawn = rng.integers(len(groups), size=len(groups))
        resample = [
            (i, person, accept) for i, g in enumerate(drawn) for person, accept in groups[g]
        ]
        kappas.append(mean_cohen_kappa(resample))
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
