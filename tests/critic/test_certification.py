"""Certified thresholds hold their error rate on simulated projects of known precision."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import binom

from critic.thresholds.certification import certify_threshold, intraclass_correlation, p_values
from critic.thresholds.curve import threshold_curve
from critic.thresholds.labelled_scores import NEVER, LabelledScores
from regions.errors import UserError

TARGET, CONFIDENCE = 0.8, 0.9
PROJECTS = 500


def project(seed: int, images: int, per_image: int, image_effect: float) -> LabelledScores:
    """Triples accepted by score and by an effect of their image with deviation `image_effect`."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(images), per_image)
    scores = expit(rng.normal(0, 1.6, len(image)))
    chance = expit(1.2 * logit(scores) + rng.normal(0, image_effect, images)[image] + 0.3)
    accepted = rng.random(len(image)) < chance
    return LabelledScores(np.arange(len(image)), image, accepted, scores, np.zeros(len(image)))


def truth(image_effect: float) -> tuple[np.ndarray, np.ndarray]:
    """Ascending scores and the true precision of a threshold at each, on a very large project."""
    whole = project(-1 % 2**31, 200_000, 1, image_effect)
    order = np.argsort(-whole.scores)
    precision = np.cumsum(whole.accepted[order]) / np.arange(1, len(order) + 1)
    return whole.scores[order][::-1], precision[::-1]


@pytest.mark.parametrize(
    ("images", "per_image", "image_effect"), [(60, 6, 1.0), (200, 3, 1.5), (300, 1, 0.0)]
)
def test_certified_thresholds_hold_and_thresholds_picked_by_eye_do_not(
    images: int, per_image: int, image_effect: float
) -> None:
    """At most a tenth of 500 certified thresholds may fail; about half of those picked by eye do.

    `image_effect` controls the correlation of acceptance within an image.
    """
    scores, precision = truth(image_effect)

    def falls_short(threshold: float) -> bool:
        return bool(precision[np.searchsorted(scores, threshold)] < TARGET)

    failed = failed_by_eye = certified = 0
    for seed in range(PROJECTS):
        calibration = project(seed, images, per_image, image_effect)
        guarantee = certify_threshold(
            calibration,
            project(seed + PROJECTS, 2 * images, per_image, image_effect),
            TARGET,
            CONFIDENCE,
        )
        if guarantee.threshold is not None:
            certified += 1
            failed += falls_short(guarantee.threshold)
        curve = threshold_curve(calibration.accepted, calibration.scores)
        failed_by_eye += falls_short(curve.thresholds[np.argmax(curve.precision >= TARGET)])
    assert failed <= (1 - CONFIDENCE) * PROJECTS
    assert failed_by_eye > 0.4 * PROJECTS
    assert certified > 0.8 * PROJECTS


@pytest.mark.slow
def test_ignoring_correlation_within_images_exceeds_the_error_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: twenty correlated triples per image."""
    scores, precision = truth(1.5)

    def failures() -> int:
        thresholds = [
            certify_threshold(
                project(seed, 40, 20, 1.5),
                project(seed + PROJECTS, 80, 20, 1.5),
                TARGET,
                CONFIDENCE,
            ).threshold
            for seed in range(PROJECTS)
        ]
        return sum(
            bool(precision[np.searchsorted(scores, threshold)] < TARGET)
            for threshold in thresholds
            if threshold is not None
        )

    assert failures() <= (1 - CONFIDENCE) * PROJECTS
    monkeypatch.setattr("critic.thresholds.certification.intraclass_correlation", lambda _: 0.0)
    assert failures() > (1 - CONFIDENCE) * PROJECTS


def test_the_test_is_binomial_for_one_triple_per_image() -> None:
    labelled = project(0, 200, 1, 0.0)
    for threshold in (0.3, 0.7):
        kept = labelled.scores >= threshold
        rejected = int((~labelled.accepted[kept]).sum())
        (p_value,) = p_values(labelled, np.array([threshold]), TARGET, 0.0)
        assert p_value == pytest.approx(binom.cdf(rejected, kept.sum(), 1 - TARGET), abs=1e-6)


def test_correlated_triples_give_larger_p_values() -> None:
    correlation = intraclass_correlation(project(0, 400, 5, 2.0))
    assert intraclass_correlation(project(0, 400, 5, 0.0)) < 0.05
    assert correlation > 0.15
    labelled = project(1, 100, 5, 2.0)
    threshold = np.array([0.7])
    assert p_values(labelled, threshold, 0.7, correlation) > p_values(labelled, threshold, 0.7, 0.0)


def test_labels_needed_are_stated_where_no_threshold_qualifies() -> None:
    few = project(3, 12, 3, 0.0)
    guarantee = certify_threshold(few, project(4, 100, 3, 0.0), TARGET, CONFIDENCE)
    assert guarantee.threshold is None
    assert guarantee.labels_needed
    # With that many more labels, a threshold qualifies.
    images = (len(few) + 2 * guarantee.labels_needed) // 3
    assert certify_threshold(
        project(5, images, 3, 0.0), project(4, 100, 3, 0.0), TARGET, CONFIDENCE
    ).threshold
    hopeless = replace(few, accepted=np.zeros(len(few), dtype=bool))
    assert certify_threshold(hopeless, few, TARGET, CONFIDENCE).labels_needed is None


@given(st.integers(0, 50), st.floats(0.05, 0.95))
@settings(deadline=None, max_examples=30)
def test_triples_not_selected_at_random_do_not_change_the_guarantee(
    seed: int, target: float
) -> None:
    """Triples chosen by active learning or as gold change nothing."""
    fair, rest = project(seed, 40, 2, 0.0), project(seed + 1, 40, 2, 0.0)
    chosen = replace(
        rest, accepted=np.ones(len(rest), dtype=bool), unbiased_from=np.full(len(rest), NEVER)
    )
    both = LabelledScores(
        *(
            np.concatenate([getattr(fair, name), getattr(chosen, name)])
            for name in ("triple_ids", "image_ids", "accepted", "scores", "unbiased_from")
        )
    )
    assert certify_threshold(both, rest, target, 0.9) == certify_threshold(fair, rest, target, 0.9)


def test_triples_drawn_above_a_threshold_count_from_there() -> None:
    labelled = project(0, 100, 3, 0.0)
    above = replace(labelled, unbiased_from=np.where(labelled.scores >= 0.6, 0.6, NEVER))
    high, low = np.array([0.7]), np.array([0.3])
    assert p_values(above, high, TARGET, 0.0) == p_values(labelled, high, TARGET, 0.0)
    assert p_values(above, low, TARGET, 0.0) == 1.0


@pytest.mark.parametrize(("target", "confidence"), [(0.0, 0.9), (1.2, 0.9), (0.8, 1.0)])
def test_a_target_or_confidence_outside_0_to_1_is_an_error(
    target: float, confidence: float
) -> None:
    labelled = project(0, 20, 2, 0.0)
    with pytest.raises(UserError, match=r"must be between 0 and 1, exclusive"):
        certify_threshold(labelled, labelled, target, confidence)


def test_no_threshold_qualifies_without_labels() -> None:
    labelled = project(0, 20, 2, 0.0)
    nothing = labelled.subset(np.zeros(len(labelled), dtype=bool))
    assert certify_threshold(nothing, labelled, TARGET, CONFIDENCE).threshold is None
