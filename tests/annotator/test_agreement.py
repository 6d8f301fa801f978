"""Agreement beyond chance: published worked examples, and other people's code."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa

from annotator.labels import agreement

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


def test_fleiss_own_example() -> None:
    assert agreement.fleiss_kappa(FLEISS_1971) == pytest.approx(0.430, abs=5e-4)


def test_krippendorffs_own_example_with_missing_votes() -> None:
    assert agreement.krippendorff_alpha(counts(KRIPPENDORFF_2011)) == pytest.approx(0.743, abs=5e-4)


def test_krippendorffs_binary_example() -> None:
    """Krippendorff 2011, section A: two observers, ten units, alpha .095."""
    first = np.array([0, 1, 0, 0, 0, 0, 0, 0, 1, 0])
    second = np.array([1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    found = np.array([[2 - a - b, a + b] for a, b in zip(first, second, strict=True)], dtype=float)
    assert agreement.krippendorff_alpha(found) == pytest.approx(0.095, abs=5e-4)


def test_gwets_paradox() -> None:
    """118 of 125 agree to accept, 2 to reject: kappa is low, AC1 is not (Gwet 2008's argument)."""
    found = np.array([[0, 2]] * 118 + [[2, 0]] * 2 + [[1, 1]] * 5, dtype=float)
    observed, share = 120 / 125, (2 * 118 + 5) / 250
    chance = 2 * share * (1 - share)
    assert agreement.gwet_ac1(found) == pytest.approx((observed - chance) / (1 - chance))
    assert agreement.gwet_ac1(found) > 0.95
    assert agreement.fleiss_kappa(found) < 0.5


def test_cohen_as_scikit_learn_has_it() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 2, 200), rng.integers(0, 2, 200)
    second[:120] = first[:120]
    assert agreement.cohen_kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))


@given(st.integers(0, 10_000))
def test_alpha_as_the_package_krippendorff_has_it(seed: int) -> None:
    """Four people, thirty triples, a third of the votes missing."""
    rng = np.random.default_rng(seed)
    told = rng.integers(0, 2, (4, 30)).astype(float)
    told[rng.random(told.shape) < 1 / 3] = np.nan
    found = np.array([[np.sum(unit == k) for k in (0, 1)] for unit in told.T], dtype=float)
    theirs = krippendorff.alpha(reliability_data=told, level_of_measurement="nominal")
    assert agreement.krippendorff_alpha(found) == pytest.approx(theirs)


@given(st.integers(0, 10_000))
def test_kappa_as_statsmodels_has_it(seed: int) -> None:
    yes = np.random.default_rng(seed).integers(0, 4, 30)
    found = np.column_stack([3 - yes, yes]).astype(float)
    assert agreement.fleiss_kappa(found) == pytest.approx(fleiss_kappa(found))


def test_pairs_are_weighted_by_what_both_judged() -> None:
    votes = [(t, p, bool((t + p) % 2)) for t in range(4) for p in (0, 2)]
    votes += [(t, 1, not t % 2) for t in range(4)]
    pairs = [((0, 2), 1.0), ((0, 1), -1.0), ((1, 2), -1.0)]
    assert agreement.mean_cohen_kappa(votes) == pytest.approx(np.mean([k for _, k in pairs]))


@given(st.lists(st.tuples(st.integers(2, 6), st.booleans()), min_size=2, max_size=20))
def test_full_agreement_on_both_is_one(items: list[tuple[int, bool]]) -> None:
    found = np.array([[0, n] if accept else [n, 0] for n, accept in items], dtype=float)
    if 0 < sum(accept for _, accept in items) < len(items):
        for coefficient in agreement.COEFFICIENTS.values():
            assert coefficient(found) == pytest.approx(1)


@given(st.lists(st.lists(st.integers(0, 5), min_size=2, max_size=2), min_size=2, max_size=20))
def test_which_category_is_called_which_changes_nothing(rows: list[list[int]]) -> None:
    found = np.array([row for row in rows if sum(row) > 1], dtype=float).reshape(-1, 2)
    for coefficient in agreement.COEFFICIENTS.values():
        there, back = coefficient(found), coefficient(found[:, ::-1])
        assert there == pytest.approx(back, nan_ok=True)


def test_the_interval_covers_its_value_and_is_the_same_each_time() -> None:
    rng = np.random.default_rng(1)
    yes = rng.binomial(3, rng.choice([0.2, 0.8], 200))
    found = np.column_stack([3 - yes, yes]).astype(float)
    low, high = agreement.bootstrap_interval(agreement.krippendorff_alpha, found)
    assert low < agreement.krippendorff_alpha(found) < high
    assert (low, high) == agreement.bootstrap_interval(agreement.krippendorff_alpha, found)


def test_nobody_shares_a_triple() -> None:
    assert agreement.agreement_summary([(1, 1, True), (2, 2, False)]) == []
    assert agreement.alpha_or_none([(1, 1, True)]) is None
