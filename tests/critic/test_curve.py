"""Precision, recall and F1 of accepting: by hand, against scikit-learn, and invariants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve

from critic.thresholds.curve import (
    average_precision,
    bootstrap_bands,
    bootstrap_intervals,
    precision_in_top,
    threshold_curve,
)

# Four triples by descending score: accepted, rejected, accepted, rejected.
ACCEPTED, SCORES = [1, 0, 1, 0], [0.9, 0.7, 0.6, 0.1]
cases = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])),
    min_size=2,
    max_size=60,
).filter(lambda rows: any(accepted for accepted, _ in rows))


def test_the_curve_of_four_triples_computed_by_hand() -> None:
    curve = threshold_curve(ACCEPTED, SCORES)
    assert curve.thresholds.tolist() == [0.1, 0.6, 0.7, 0.9]
    assert curve.precision.tolist() == [2 / 4, 2 / 3, 1 / 2, 1 / 1]
    assert curve.recall.tolist() == [1, 1, 1 / 2, 1 / 2]
    assert curve.f1.tolist() == pytest.approx([2 / 3, 4 / 5, 1 / 2, 2 / 3])
    assert curve.kept_share.tolist() == [1, 3 / 4, 1 / 2, 1 / 4]


def test_a_threshold_between_two_scores_acts_like_the_upper_score() -> None:
    assert threshold_curve(ACCEPTED, SCORES).at(0.65) == threshold_curve(ACCEPTED, SCORES).at(0.7)


def test_a_score_equal_to_the_threshold_is_kept() -> None:
    assert threshold_curve(ACCEPTED, SCORES).at(0.6).kept_share == 3 / 4


def test_the_precision_of_an_empty_selection_is_undefined() -> None:
    above = threshold_curve(ACCEPTED, SCORES).at(0.95)
    assert np.isnan(above.precision)
    assert (above.recall, above.kept_share) == (0, 0)


def test_recall_is_undefined_if_nothing_is_accepted() -> None:
    assert np.isnan(threshold_curve([0, 0], [0.1, 0.2]).recall).all()


@given(cases)
def test_it_agrees_with_scikit_learn(rows: list[tuple[bool, float]]) -> None:
    accepted, scores = zip(*rows, strict=True)
    precision, recall, thresholds = precision_recall_curve(accepted, scores)
    curve = threshold_curve(accepted, scores)
    assert curve.thresholds.tolist() == thresholds.tolist()
    assert curve.precision == pytest.approx(precision[:-1])
    assert curve.recall == pytest.approx(recall[:-1])
    assert average_precision(accepted, scores) == pytest.approx(
        average_precision_score(accepted, scores)
    )


@given(cases)
def test_recall_never_rises_with_the_threshold(rows: list[tuple[bool, float]]) -> None:
    accepted, scores = zip(*rows, strict=True)
    assert (np.diff(threshold_curve(accepted, scores).recall) <= 0).all()


def test_the_top_fifth_of_ten_is_two() -> None:
    accepted = [1, 0, 1, 1, 1, 1, 1, 1, 1, 1]
    scores = [0.9, 0.8, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    assert precision_in_top(accepted, scores) == 1 / 2


def test_bands_equal_those_of_resampling_images_one_by_one() -> None:
    rng = np.random.default_rng(1)
    images = rng.integers(12, size=200)
    accepted = rng.random(200) < 0.5
    scores = np.clip(0.3 * accepted + rng.random(200) * 0.7, 0, 1).round(2)
    fast = bootstrap_bands(
        accepted, scores, images, np.array([0.5]), resamples=4000, rng=np.random.default_rng(0)
    )
    (slow,) = bootstrap_intervals(
        accepted,
        scores,
        images,
        lambda a, s: np.array([a[s >= 0.5].mean()]),
        resamples=4000,
        rng=np.random.default_rng(5),
    )
    assert fast["precision"][0] == pytest.approx(slow, abs=0.015)


def test_the_interval_of_a_single_image_has_no_width() -> None:
    bands = bootstrap_bands(
        ACCEPTED, SCORES, [7] * 4, np.array([0.6]), resamples=50, rng=np.random.default_rng(0)
    )
    assert bands["recall"][0].tolist() == [1, 1]
