"""Agreement: published worked examples, and other packages as references."""

from itertools import combinations

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa

from annotator.statistics import agreement

# Fleiss 1971, table 1: thirty patients, six psychiatrists, five diagnoses.
FLEISS_1971 = np.array(
    [
        *([0, 0, 0, 6, 0], [0, 3, 0, 0, 3], [0, 1, 4, 0, 1], [0, 0, 0, 0, 6], [0, 3, 0, 3, 0]),
        *([2, 0, 4, 0, 0], [0, 0, 4, 0, 2], [2, 0, 3, 1, 0], [2, 0, 0, 4, 0], [0, 0, 0, 0, 6]),
        *([1, 0, 0, 5, 0], [1, 1, 0, 4, 0], [0, 3, 3, 0, 0], [1, 0, 0, 5, 0], [0, 2, 0, 3, 1]),
        *([0, 0, 5, 0, 1], [3, 0, 0, 1, 2], [5, 1, 0, 0, 0], [0, 2, 0, 4, 0], [1, 0, 2, 0, 3]),
        *([0, 0, 0, 0, 6], [0, 1, 0, 5, 0], [0, 2, 0, 1, 3], [2, 0, 0, 4, 0], [1, 0, 0, 4, 1]),
        *([0, 5, 0, 1, 0], [4, 0, 0, 0, 2], [0, 2, 0, 4, 0], [1, 0, 5, 0, 0], [0, 0, 0, 0, 6]),
    ],
    dtype=float,
)

# Krippendorff 2011, section C: twelve units, four observers, five values, some missing.
_ = np.nan
KRIPPENDORFF_2011 = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
)


def counts(units: np.ndarray) -> np.ndarray:
    return np.array([[np.sum(unit == k) for k in range(1, 6)] for unit in units.T], dtype=float)


def test_fleiss_kappa_of_the_papers_example() -> None:
    assert agreement.fleiss_kappa(FLEISS_1971) == pytest.approx(0.430, abs=5e-4)


def test_alpha_of_the_papers_example_with_missing_votes() -> None:
    assert agreement.krippendorff_alpha(counts(KRIPPENDORFF_2011)) == pytest.approx(0.743, abs=5e-4)


def test_alpha_of_the_papers_binary_example() -> None:
    """Krippendorff 2011, section A: two observers, ten units, alpha .095."""
    first = np.array([0, 1, 0, 0, 0, 0, 0, 0, 1, 0])
    second = np.array([1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    item_counts = np.array(
        [[2 - a - b, a + b] for a, b in zip(first, second, strict=True)], dtype=float
    )
    assert agreement.krippendorff_alpha(item_counts) == pytest.approx(0.095, abs=5e-4)


def test_ac1_is_high_where_kappa_is_low() -> None:
    """Gwet's paradox: of 125 items, both accept 118 and both reject 2 (Gwet 2008)."""
    item_counts = np.array([[0, 2]] * 118 + [[2, 0]] * 2 + [[1, 1]] * 5, dtype=float)
    observed, share = 120 / 125, (2 * 118 + 5) / 250
    chance = 2 * share * (1 - share)
    assert agreement.gwet_ac1(item_counts) == pytest.approx((observed - chance) / (1 - chance))
    assert agreement.gwet_ac1(item_counts) > 0.95
    assert agreement.fleiss_kappa(item_counts) < 0.5


def test_cohen_kappa_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 2, 200), rng.integers(0, 2, 200)
    second[:120] = first[:120]
    assert agreement.cohen_kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))


@given(st.integers(0, 10_000))
def test_alpha_equals_the_package_krippendorff(seed: int) -> None:
    """Four people, thirty triples, a third of the votes missing."""
    rng = np.random.default_rng(seed)
    votes = rng.integers(0, 2, (4, 30)).astype(float)
    votes[rng.random(votes.shape) < 1 / 3] = np.nan
    item_counts = np.array([[np.sum(unit == k) for k in (0, 1)] for unit in votes.T], dtype=float)
    expected = krippendorff.alpha(reliability_data=votes, level_of_measurement="nominal")
    assert agreement.krippendorff_alpha(item_counts) == pytest.approx(expected)


@given(st.integers(0, 10_000))
def test_fleiss_kappa_equals_statsmodels(seed: int) -> None:
    yes = np.random.default_rng(seed).integers(0, 4, 30)
    item_counts = np.column_stack([3 - yes, yes]).astype(float)
    assert agreement.fleiss_kappa(item_counts) == pytest.approx(fleiss_kappa(item_counts))


def test_pairs_are_weighted_by_their_shared_triples() -> None:
    votes = [(t, p, bool((t + p) % 2)) for t in range(4) for p in (0, 2)]
    votes += [(t, 1, not t % 2) for t in range(4)]
    pairs = [((0, 2), 1.0), ((0, 1), -1.0), ((1, 2), -1.0)]
    assert agreement.mean_cohen_kappa(votes) == pytest.approx(np.mean([k for _, k in pairs]))


@given(st.lists(st.tuples(st.integers(2, 6), st.booleans()), min_size=2, max_size=20))
def test_full_agreement_on_both_categories_is_one(items: list[tuple[int, bool]]) -> None:
    item_counts = np.array([[0, n] if accept else [n, 0] for n, accept in items], dtype=float)
    if 0 < sum(accept for _, accept in items) < len(items):
        for coefficient in agreement.COEFFICIENTS.values():
            assert coefficient(item_counts) == pytest.approx(1)


@given(st.lists(st.lists(st.integers(0, 5), min_size=2, max_size=2), min_size=2, max_size=20))
def test_swapping_the_categories_changes_nothing(rows: list[list[int]]) -> None:
    item_counts = np.array([row for row in rows if sum(row) > 1], dtype=float).reshape(-1, 2)
    for coefficient in agreement.COEFFICIENTS.values():
        swapped = coefficient(item_counts[:, ::-1])
        assert coefficient(item_counts) == pytest.approx(swapped, nan_ok=True)


def test_the_interval_contains_its_value_and_is_reproducible() -> None:
    rng = np.random.default_rng(1)
    yes = rng.binomial(3, rng.choice([0.2, 0.8], 200))
    item_counts = np.column_stack([3 - yes, yes]).astype(float)
    low, high = agreement.bootstrap_interval(agreement.krippendorff_alpha, item_counts)
    assert low < agreement.krippendorff_alpha(item_counts) < high
    assert (low, high) == agreement.bootstrap_interval(agreement.krippendorff_alpha, item_counts)


def test_agreement_is_undefined_without_shared_triples() -> None:
    assert agreement.agreement_summary([(1, 1, True), (2, 2, False)]) == []
    assert agreement.alpha_or_none([(1, 1, True)]) is None


@given(
    st.dictionaries(
        st.tuples(st.integers(0, 12), st.integers(0, 5)), st.booleans(), min_size=1, max_size=60
    )
)
def test_the_mean_of_pairs_is_that_of_each_pair(votes: dict[tuple[int, int], bool]) -> None:
    ratings = [(triple, person, accept) for (triple, person), accept in votes.items()]
    kappas, weights = [], []
    for first, second in combinations(range(6), 2):
        shared = [t for t in range(13) if {(t, first), (t, second)} <= votes.keys()]
        pair = [np.array([votes[t, p] for t in shared], dtype=int) for p in (first, second)]
        kappa = agreement.cohen_kappa(*pair)
        if np.isfinite(kappa):
            kappas.append(kappa)
            weights.append(len(shared))
    expected = np.average(kappas, weights=weights) if kappas else np.nan
    assert agreement.mean_cohen_kappa(ratings) == pytest.approx(expected, nan_ok=True)
