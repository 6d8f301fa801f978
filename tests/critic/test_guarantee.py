"""A promise is kept: on simulated projects, whose true precision is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import binom

from critic.thresholds.curve import curve
from critic.thresholds.guarantee import guarantee, likeness, p_values
from critic.thresholds.labelled_scores import NEVER, Evidence
from regions.errors import UserError

TARGET, CONFIDENCE = 0.8, 0.9
PROJECTS = 500


def project(seed: int, images: int, each: int, alike: float) -> Evidence:
    """Triples whose acceptance follows the score, and what their image is like."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(images), each)
    scores = expit(rng.normal(0, 1.6, len(image)))
    chance = expit(1.2 * logit(scores) + rng.normal(0, alike, images)[image] + 0.3)
    accepted = rng.random(len(image)) < chance
    return Evidence(np.arange(len(image)), image, accepted, scores, np.zeros(len(image)))


def truth(alike: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores, rising, and the precision of a threshold at each: on a project without end."""
    whole = project(-1 % 2**31, 200_000, 1, alike)
    order = np.argsort(-whole.scores)
    precision = np.cumsum(whole.accepted[order]) / np.arange(1, len(order) + 1)
    return whole.scores[order][::-1], precision[::-1]


@pytest.mark.parametrize(("images", "each", "alike"), [(60, 6, 1.0), (200, 3, 1.5), (300, 1, 0.0)])
def test_the_promise_is_kept_and_the_eye_does_not_keep_it(
    images: int, each: int, alike: float
) -> None:
    """Of 500 projects, no more than a tenth may fail; whoever picks on the same labels fails half.

    `alike` is how much triples of an image are accepted together.
    """
    scores, precision = truth(alike)

    def falls_short(threshold: float) -> bool:
        return bool(precision[np.searchsorted(scores, threshold)] < TARGET)

    broken = by_eye = qualified = 0
    for seed in range(PROJECTS):
        sealed = project(seed, images, each, alike)
        found = guarantee(
            sealed, project(seed + PROJECTS, 2 * images, each, alike), TARGET, CONFIDENCE
        )
        if found.threshold is not None:
            qualified += 1
            broken += falls_short(found.threshold)
        seen = curve(sealed.accepted, sealed.scores)
        by_eye += falls_short(seen.thresholds[np.argmax(seen.precision >= TARGET)])
    assert broken <= (1 - CONFIDENCE) * PROJECTS
    assert by_eye > 0.4 * PROJECTS
    assert qualified > 0.8 * PROJECTS


def test_a_test_that_takes_triples_for_independent_breaks_its_promise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: twenty triples an image, which rise and fall together."""
    scores, precision = truth(1.5)

    def broken() -> int:
        found = [
            guarantee(
                project(seed, 40, 20, 1.5),
                project(seed + PROJECTS, 80, 20, 1.5),
                TARGET,
                CONFIDENCE,
            ).threshold
            for seed in range(PROJECTS)
        ]
        return sum(
            bool(precision[np.searchsorted(scores, threshold)] < TARGET)
            for threshold in found
            if threshold is not None
        )

    assert broken() <= (1 - CONFIDENCE) * PROJECTS
    monkeypatch.setattr("critic.thresholds.guarantee.likeness", lambda _: 0.0)
    assert broken() > (1 - CONFIDENCE) * PROJECTS


def test_the_test_is_binomial_where_triples_judge_for_themselves() -> None:
    some = project(0, 200, 1, 0.0)
    for threshold in (0.3, 0.7):
        kept = some.scores >= threshold
        rejected = int((~some.accepted[kept]).sum())
        (found,) = p_values(some, np.array([threshold]), TARGET, 0.0)
        assert found == pytest.approx(binom.cdf(rejected, kept.sum(), 1 - TARGET), abs=1e-6)


def test_triples_that_rise_and_fall_together_count_for_less() -> None:
    alike = likeness(project(0, 400, 5, 2.0))
    assert likeness(project(0, 400, 5, 0.0)) < 0.05
    assert alike > 0.15
    some = project(1, 100, 5, 2.0)
    at = np.array([0.7])
    assert p_values(some, at, 0.7, alike) > p_values(some, at, 0.7, 0.0)


def test_none_qualifies_and_what_would_help() -> None:
    few = project(3, 12, 3, 0.0)
    found = guarantee(few, project(4, 100, 3, 0.0), TARGET, CONFIDENCE)
    assert found.threshold is None
    assert found.further
    # So many more, and there is one.
    images = (len(few) + 2 * found.further) // 3
    assert guarantee(
        project(5, images, 3, 0.0), project(4, 100, 3, 0.0), TARGET, CONFIDENCE
    ).threshold
    hopeless = replace(few, accepted=np.zeros(len(few), dtype=bool))
    assert guarantee(hopeless, few, TARGET, CONFIDENCE).further is None


@given(st.integers(0, 50), st.floats(0.05, 0.95))
@settings(deadline=None, max_examples=30)
def test_what_was_chosen_for_what_it_is_does_not_count(seed: int, target: float) -> None:
    """Active learning and gold say nothing of all triples."""
    fair, rest = project(seed, 40, 2, 0.0), project(seed + 1, 40, 2, 0.0)
    chosen = replace(rest, accepted=np.ones(len(rest), dtype=bool), since=np.full(len(rest), NEVER))
    both = Evidence(
        *(
            np.concatenate([getattr(fair, name), getattr(chosen, name)])
            for name in ("triples", "images", "accepted", "scores", "since")
        )
    )
    assert guarantee(both, rest, target, 0.9) == guarantee(fair, rest, target, 0.9)


def test_votes_drawn_above_a_threshold_count_there() -> None:
    some = project(0, 100, 3, 0.0)
    above = replace(some, since=np.where(some.scores >= 0.6, 0.6, NEVER))
    high, low = np.array([0.7]), np.array([0.3])
    assert p_values(above, high, TARGET, 0.0) == p_values(some, high, TARGET, 0.0)
    assert p_values(above, low, TARGET, 0.0) == 1.0


@pytest.mark.parametrize(("target", "confidence"), [(0.0, 0.9), (1.2, 0.9), (0.8, 1.0)])
def test_a_share_that_is_none(target: float, confidence: float) -> None:
    some = project(0, 20, 2, 0.0)
    with pytest.raises(UserError, match=r"use a share, such as 0\.8"):
        guarantee(some, some, target, confidence)


def test_without_a_label_none_qualifies() -> None:
    some = project(0, 20, 2, 0.0)
    nothing = some.where(np.zeros(len(some), dtype=bool))
    assert guarantee(nothing, some, TARGET, CONFIDENCE).threshold is None
