"""Critics trained on the probability of acceptance instead of accept or reject."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from critic.models.baseline import Baseline
from critic.models.blip2.losses import critic_loss
from critic.models.calibration import Platt
from critic.models.soft_targets import weighted_labels
from critic.protocol import Targets
from critic.training.train import train
from db.schema import Run
from db.store.session import Store
from tests.critic.conftest import QUICK
from tests.critic.test_baseline import examples

SOFT = st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=20)


@given(SOFT)
def test_rows_weigh_as_much_as_their_targets(soft: list[float | None]) -> None:
    targets = [Targets(n % 2 == 0, soft=p) for n, p in enumerate(soft)]
    rows = weighted_labels(targets)
    assert np.bincount(rows.index, rows.weights) == pytest.approx(np.ones(len(targets)))
    accepted = np.bincount(rows.index, rows.weights * rows.labels)
    assert accepted == pytest.approx([target.probability for target in targets])
    assert np.all(rows.weights > 0)


def test_platt_scaling_reaches_soft_targets() -> None:
    raw = np.linspace(-2, 2, 41)
    expected = expit(1.5 * raw - 0.5)
    platt = Platt.fit(raw, [Targets(p > 0.5, soft=float(p)) for p in expected])
    assert platt(raw) == pytest.approx(expected, abs=1e-3)


def test_the_baseline_learns_probabilities() -> None:
    """Triples of one text are acceptable with a probability, which hard targets exaggerate."""
    triples, is_likely = examples(120, images=9)
    expected = np.where(is_likely, 0.8, 0.35)
    soft = [Targets(p > 0.5, soft=float(p)) for p in expected]
    hard = [target._replace(soft=None) for target in soft]
    error = []
    for targets in (soft, hard):
        critic = Baseline(3, grounding=False)
        critic.fit(triples, targets, np.random.default_rng(0))
        error.append(np.abs(critic.score(triples) - expected).mean())
    assert error[0] < error[1] / 2


def test_the_loss_of_a_soft_target_is_the_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[0.0, 1.0], [0.5, -0.5]])
    nothing = torch.full((2, 2), torch.nan)
    soft = torch.tensor([0.7, 0.2])
    total, _ = critic_loss(logits, torch.zeros(2, 2), soft, nothing)
    log_p = torch.log_softmax(logits, dim=1)
    by_hand = -(0.3 * log_p[0, 0] + 0.7 * log_p[0, 1] + 0.8 * log_p[1, 0] + 0.2 * log_p[1, 1]) / 2
    assert float(total) == pytest.approx(float(by_hand))


def test_training_on_soft_labels_is_a_setting_of_the_run(voted: Store) -> None:
    hard, soft = (train(voted, replace(QUICK, soft_labels=value)) for value in (False, True))
    assert (hard.settings["soft_labels"], soft.settings["soft_labels"]) == (False, True)
    assert hard.fingerprint != soft.fingerprint
    with voted.read() as session:
        precision = [
            session.get_one(Run, run.id).results["average_precision"] for run in (hard, soft)
        ]
    assert precision[0] != precision[1]
