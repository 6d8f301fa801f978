"""Labelled scores, slices, vote planning, correction of label noise, automatic retraining."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select

from critic import page_data
from critic.settings import ModelConfig
from critic.thresholds import label_noise, vote_planning
from critic.thresholds.labelled_scores import NEVER, load_labelled_scores, unbiased_thresholds
from critic.thresholds.slices import DIMENSIONS
from critic.thresholds.vote_planning import forecast
from critic.training import retraining
from critic.training.retraining import RetrainingStatus
from critic.training.train import train
from db.demo.simulated_annotators import simulate_votes
from db.labelling.batches import Selection, draw_batch
from db.schema import AnswerKey, Batch, BatchItem, Gold, Run, Score, Split, Triple, Vote
from db.store import runs
from db.store.clock import now
from db.store.session import Store
from regions.errors import UserError
from tests.critic.conftest import QUICK


def test_labels_of_calibration_images_are_not_used(trained: tuple[Store, Run]) -> None:
    """Changing their labels changes neither training nor evaluation."""
    store, run = trained
    with store.write() as session:
        calibration = select(Triple.id).join(Split, Split.image_id == Triple.image_id)
        calibration = calibration.where(Split.part == "calibration")
        votes = session.scalars(select(Vote).where(Vote.triple_id.in_(calibration))).all()
        assert votes
        for vote in votes:
            vote.decision = "reject" if vote.decision == "accept" else "accept"
    again = train(store, QUICK)
    compared = ("average_precision", "curve", "calibration", "train_triples")
    assert [run.results[name] for name in compared] == [again.results[name] for name in compared]


def test_labelled_scores_join_labels_and_scores_of_a_part(trained: tuple[Store, Run]) -> None:
    store, run = trained
    with store.write() as session:
        labelled = load_labelled_scores(session, run, "test")
        parts = runs.split(session)
        scores = dict(
            session.execute(
                select(Score.triple_id, Score.value).where(Score.run_id == run.id)
            ).all()
        )
    assert len(labelled) == run.results["test_triples"]
    assert {parts[int(image)] for image in labelled.image_ids} == {"test"}
    assert [scores[int(i)] for i in labelled.triple_ids] == labelled.scores.tolist()
    assert (labelled.unbiased_from == 0).all()


def test_triples_not_selected_at_random_are_excluded_from_estimates(
    trained: tuple[Store, Run],
) -> None:
    store, run = trained
    with store.write() as session:
        items = session.scalars(select(BatchItem).order_by(BatchItem.position)).all()
        ranked, gold, fair = (item.triple_id for item in items[:3])
        items[0].at_random = False
        items[1].votes_required = items[1].slots_used = 0
        thresholds = unbiased_thresholds(session, run.name)
        assert (thresholds[ranked], thresholds[gold], thresholds[fair]) == (NEVER, NEVER, 0.0)
        for score_from, score_to, run_name, expected in (
            (0.6, None, run.name, 0.6),
            (0.6, None, "another", NEVER),
            (None, 0.4, run.name, NEVER),
        ):
            (batch,) = session.scalars(select(Batch)).all()
            batch.selection = {"run": run_name, "score_from": score_from, "score_to": score_to}
            session.flush()
            assert unbiased_thresholds(session, run.name)[fair] == expected


def test_slices_cover_all_triples_and_all_kept_triples(trained: tuple[Store, Run]) -> None:
    store, run = trained
    for dimension in DIMENSIONS:
        rows = page_data.slices_at(store, run.name, 0.5, dimension)
        assert sum(row.labelled_triples for row in rows) == run.results["test_triples"]
        assert sum(row.share_of_all or 0 for row in rows) == pytest.approx(1, abs=1e-4)
        assert sum(row.share_of_kept or 0 for row in rows) == pytest.approx(1, abs=1e-4)
    counts = {row.value for row in page_data.slices_at(store, None, 0.5, "regions")}
    assert counts <= {"0", "1", "2", "3 or more"}
    with pytest.raises(UserError, match="no dimension 'mood': use one of source"):
        page_data.slices_at(store, None, 0.5, "mood")


def test_the_precision_of_a_slice_is_that_of_its_triples(trained: tuple[Store, Run]) -> None:
    """Precision of a kind, computed by hand."""
    store, run = trained
    with store.write() as session:
        labelled = load_labelled_scores(session, run, "test")
        kind = dict(session.execute(select(Triple.id, Triple.kind)).all())
    kinds = np.array([kind[int(i)] for i in labelled.triple_ids])
    for row in page_data.slices_at(store, run.name, 0.4, "kind"):
        kept = (kinds == row.value) & (labelled.scores >= 0.4)
        assert row.labelled_triples == (kinds == row.value).sum()
        if kept.any():
            assert row.precision.value == pytest.approx(labelled.accepted[kept].mean(), abs=1e-5)


def test_a_batch_for_a_threshold_draws_unlabelled_triples_above_it(
    trained: tuple[Store, Run],
) -> None:
    """Unlabelled triples at or above the threshold, on test images, drawn at random."""
    store, run = trained
    with pytest.raises(
        UserError, match=r"no unlabelled triple on test images scores at least 0\.3"
    ):
        vote_planning.create_batch(store, run.name, 0.3, "estimate", size=5, votes_required=3)
    with store.write() as session:
        of_test = select(Triple.id).join(Split, Split.image_id == Triple.image_id)
        of_test = of_test.where(Split.part == "test").order_by(Triple.id)
        freed = session.scalars(of_test).all()[::2]
        session.query(Vote).filter(Vote.triple_id.in_(freed)).delete()
        session.query(BatchItem).filter(BatchItem.triple_id.in_(freed)).delete()
        before = forecast(session, run, 0.3, "estimate")
        assert before.interval_width is not None
        assert before.width_after(before.labelled_triples * 3) == pytest.approx(
            before.interval_width / 2
        )
    batch = vote_planning.create_batch(store, run.name, 0.3, "estimate", size=5, votes_required=3)
    assert batch.batch == f"estimate 1 of {run.name} at 0.30"
    with store.write() as session:
        drawn = session.scalars(
            select(BatchItem.triple_id).join(Batch).where(Batch.name == batch.batch)
        ).all()
        assert len(drawn) == batch.triples == min(5, before.available)
        assert set(drawn) <= set(freed)
        scores = session.scalars(
            select(Score.value).where(Score.run_id == run.id, Score.triple_id.in_(drawn))
        ).all()
        assert min(scores) >= 0.3
        # They count at this threshold and above, not below.
        assert {unbiased_thresholds(session, run.name)[i] for i in drawn} == {0.3}
        assert forecast(session, run, 0.3, "estimate").available == before.available - batch.triples
    with pytest.raises(UserError, match="the number of triples must be at least 1"):
        vote_planning.create_batch(store, run.name, 0.3, "estimate", size=0, votes_required=3)


def test_triples_ranked_by_active_learning_are_excluded_from_the_test(
    trained: tuple[Store, Run],
) -> None:
    store, _ = trained
    with store.write() as session:
        session.query(Vote).delete()
        session.query(BatchItem).delete()
        session.query(Batch).delete()
    draw_batch(
        store,
        "active",
        votes_required=3,
        selection=Selection(),
        seed=0,
        ordering="uncertain",
        random_share=0.5,
    )
    simulate_votes(store, accuracies=[0.95, 0.9, 0.9], seed=1)
    run = train(store, QUICK)
    with store.read() as session:
        by_chance = session.scalars(
            select(BatchItem.triple_id)
            .join(Triple, Triple.id == BatchItem.triple_id)
            .join(Split, Split.image_id == Triple.image_id)
            .where(BatchItem.at_random, Split.part == "test")
        ).all()
    assert run.results["test_triples"] == len(by_chance)
    assert run.results["excluded_from_test"] > 0


# ---- label noise


def test_precision_is_corrected_for_one_error_in_ten_votes() -> None:
    """A true precision of .90 is measured as .82 if one vote in ten is wrong (one per triple)."""
    accuracy = label_noise.VoteAccuracy(0.9, 0.9, 1, "")
    assert label_noise.correct_precision(0.82, accuracy) == pytest.approx(0.9)
    # The majority of three votes errs less: .9 becomes .972.
    assert label_noise.VoteAccuracy(0.9, 0.9, 3, "").of_majority()[0] == pytest.approx(0.972)
    assert label_noise.correct_precision(0.82, label_noise.VoteAccuracy(0.5, 0.5, 3, "")) is None


def test_vote_accuracy_is_measured_on_gold_or_by_agreement(demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=[0.8, 0.8, 0.8], seed=3)
    with demo_store.write() as session:
        assert label_noise.estimate_vote_accuracy(session, simulated=False) is None
        accuracy = label_noise.estimate_vote_accuracy(session, simulated=True)
        assert accuracy is not None
        assert "by agreement" in accuracy.measured_on
        assert accuracy.sensitivity == pytest.approx(0.8, abs=0.07)
        for triple_id, flaw in session.execute(select(AnswerKey.triple_id, AnswerKey.flaw)):
            decision = "reject" if flaw else "accept"
            session.add(Gold(triple_id=triple_id, decision=decision, reasons=[], created=now()))
        session.flush()
        accuracy = label_noise.estimate_vote_accuracy(session, simulated=True)
        assert accuracy is not None
        assert "on gold" in accuracy.measured_on
        assert (accuracy.sensitivity + accuracy.specificity) / 2 == pytest.approx(0.8, abs=0.05)


# ---- automatic retraining


def test_it_retrains_after_enough_new_votes(demo_store: Store) -> None:
    retraining.enable(demo_store, 300, QUICK, ModelConfig())
    assert retraining.train_if_due(demo_store) is None
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    with demo_store.read() as session:
        assert retraining.status(session) == RetrainingStatus(300, 471, "baseline", "")
    name = retraining.train_if_due(demo_store)
    assert name == "critic-1"
    assert retraining.train_if_due(demo_store) is None
    with demo_store.read() as session:
        (critic,) = retraining.history(session)
        assert critic.labelled_triples == 157
        assert 0 < (critic.average_precision.value or 0) <= 1
    retraining.disable(demo_store)
    with demo_store.read() as session:
        assert retraining.status(session) is None


def test_the_error_of_a_failed_retraining_is_stored(demo_store: Store) -> None:
    retraining.enable(demo_store, 1, replace(QUICK, labels="gone"), ModelConfig())
    simulate_votes(demo_store, accuracies=[0.9])
    with pytest.raises(UserError, match="no labels named 'gone'"):
        retraining.train_if_due(demo_store)
    with demo_store.read() as session:
        status = retraining.status(session)
        assert status is not None
        assert "no labels named" in status.error
    with pytest.raises(UserError, match="the number of votes must be at least 1"):
        retraining.enable(demo_store, 0, QUICK, ModelConfig())
