"""How much people agree beyond chance, with intervals by bootstrap over triples.

All coefficients are nominal and take missing votes. Notation: n[i, k] votes of item i for category
k, n[i] their sum.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ratings = Sequence[tuple[int, int, bool]]
"""Triple, person, accept."""

Counts = NDArray[np.float64]
"""Shape (items, categories): how many chose each category."""

_DRAWS = 300
_SEED = 0


def rating_counts(votes: Ratings) -> Counts:
    """The counts of those triples on which two people or more voted, shape (triples, 2)."""
    triples, at = np.unique([triple for triple, _, _ in votes], return_inverse=True)
    found = np.zeros((len(triples), 2))
    np.add.at(found, (at, np.array([accept for _, _, accept in votes], dtype=int)), 1)
    shared: Counts = found[found.sum(axis=1) > 1]
    return shared


def krippendorff_alpha(counts: Counts) -> float:
    """Alpha: 1 - observed / expected disagreement (Krippendorff 2011), over pairable votes."""
    counts = counts[counts.sum(axis=1) > 1]
    n = counts.sum(axis=1)
    total, shares = n.sum(), counts.sum(axis=0)
    if total < 2:  # noqa: PLR2004 - a pair
        return float("nan")
    observed = ((n**2 - (counts**2).sum(axis=1)) / (n - 1)).sum() / total
    expected = (total**2 - (shares**2).sum()) / (total * (total - 1))
    return float(1 - observed / expected) if expected else float("nan")


def fleiss_kappa(counts: Counts) -> float:
    """Kappa (Fleiss 1971); items may have different numbers of votes (Gwet 2014, eq. 2.11)."""
    shares = (counts / counts.sum(axis=1, keepdims=True)).mean(axis=0) if len(counts) else counts
    return _chance_corrected(counts, float((shares**2).sum()))


def gwet_ac1(counts: Counts) -> float:
    """AC1 (Gwet 2008): chance agreement sum(p (1 - p)) / (categories - 1)."""
    shares = (counts / counts.sum(axis=1, keepdims=True)).mean(axis=0) if len(counts) else counts
    return _chance_corrected(counts, float((shares * (1 - shares)).sum() / (counts.shape[1] - 1)))


def cohen_kappa(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Kappa of two people (Cohen 1960) over the items that both judged, as category numbers."""
    if not len(first):
        return float("nan")
    categories = np.union1d(first, second)
    observed = float((first == second).mean())
    chance = sum(float((first == k).mean() * (second == k).mean()) for k in categories)
    return (observed - chance) / (1 - chance) if chance < 1 else float("nan")


def mean_cohen_kappa(votes: Ratings) -> float:
    """The mean of Cohen's kappa over pairs of people, weighted by the triples that both judged."""
    by_person: dict[int, dict[int, bool]] = {}
    for triple, person, accept in votes:
        by_person.setdefault(person, {})[triple] = accept
    kappas, weights = [], []
    for one, other in combinations(by_person.values(), 2):
        both = sorted(one.keys() & other.keys())
        kappa = cohen_kappa(
            np.array([one[t] for t in both], dtype=int),
            np.array([other[t] for t in both], dtype=int),
        )
        if np.isfinite(kappa):
            kappas.append(kappa)
            weights.append(len(both))
    return float(np.average(kappas, weights=weights)) if kappas else float("nan")


COEFFICIENTS: dict[str, Callable[[Counts], float]] = {
    "Krippendorff's alpha": krippendorff_alpha,
    "Fleiss' kappa": fleiss_kappa,
    "Gwet's AC1": gwet_ac1,
}


def bootstrap_interval(
    coefficient: Callable[[Counts], float], counts: Counts, seed: int = _SEED
) -> tuple[float, float]:
    """95 % percentile interval of a coefficient, triples drawn with replacement."""
    rng = np.random.default_rng(seed)
    draws = [
        coefficient(counts[rng.integers(len(counts), size=len(counts))]) for _ in range(_DRAWS)
    ]
    finite = [draw for draw in draws if np.isfinite(draw)]
    if not finite:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


def agreement_summary(votes: Ratings) -> list[dict[str, Any]]:
    """Every coefficient with its interval; empty where nobody shares a triple."""
    counts = rating_counts(votes)
    if not len(counts):
        return []
    rows = []
    for name, coefficient in COEFFICIENTS.items():
        value = coefficient(counts)
        if np.isfinite(value):
            low, high = bootstrap_interval(coefficient, counts)
            rows.append({"name": name, "value": value, "low": low, "high": high})
    pairs = mean_cohen_kappa(votes)
    if np.isfinite(pairs):
        low, high = _interval_of_pairs(votes)
        rows.append(
            {"name": "Cohen's kappa, mean of pairs", "value": pairs, "low": low, "high": high}
        )
    return rows


def alpha_or_none(votes: Ratings) -> float | None:
    """Krippendorff's alpha; None where it cannot be told."""
    value = krippendorff_alpha(rating_counts(votes))
    return value if np.isfinite(value) else None


def _interval_of_pairs(votes: Ratings, draws: int = 60) -> tuple[float, float]:
    """As `interval`, for a coefficient that needs to know who voted what."""
    rng = np.random.default_rng(_SEED)
    by_triple: dict[int, list[tuple[int, bool]]] = {}
    for triple, person, accept in votes:
        by_triple.setdefault(triple, []).append((person, accept))
    groups = [group for group in by_triple.values() if len(group) > 1]
    found = []
    for _ in range(draws):
        drawn = rng.integers(len(groups), size=len(groups))
        again = [(i, person, accept) for i, g in enumerate(drawn) for person, accept in groups[g]]
        found.append(mean_cohen_kappa(again))
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


def _chance_corrected(counts: Counts, chance: float) -> float:
    n = counts.sum(axis=1)
    if not len(n) or chance >= 1:
        return float("nan")
    observed = float((((counts * (counts - 1)).sum(axis=1)) / (n * (n - 1))).mean())
    return (observed - chance) / (1 - chance)
