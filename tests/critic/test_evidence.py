"""What counts as evidence, what it says by kinds of triples, and what would make it surer."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select

from critic import page_data
from critic.settings import PictureSettings, TrainSettings
from critic.thresholds import label_noise, vote_planning
from critic.thresholds.labelled_scores import NEVER, drawn_since, gather
from critic.thresholds.slices import DIMENSIONS
from critic.thresholds.vote_planning import look
from critic.training import retraining
from critic.training.train import train
from db.demo.simulated_annotators import simulate_votes
from db.labelling.batches import Selection, draw_batch
from db.schema import AnswerKey, Batch, BatchItem, Gold, Run, Score, Split, Triple, Vote
from db.store import runs
from db.store.clock import now
from db.store.session import Store
from regions.errors import UserError

QUICK = TrainSettings(simulated=True, resamples=20)


@pytest.fixture
def trained(demo_store: Store) -> tuple[Store, Run]:
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    return demo_store, train(demo_store, QUICK)


def test_calibration_images_are_sealed(trained: tuple[Store, Run]) -> None:
    """Other labels there change nothing of what was trained and measured."""
    store, run = trained
    with store.write() as session:
        sealed = select(Triple.id).join(Split, Split.image_id == Triple.image_id)
        sealed = sealed.where(Split.part == "calibration")
        votes = session.scalars(select(Vote).where(Vote.triple_id.in_(sealed))).all()
        assert votes
        for vote in votes:
            vote.decision = "reject" if vote.decision == "accept" else "accept"
    again = train(store, QUICK)
    kept = ("average precision", "curve", "calibration", "learned from")
    assert [run.results[name] for name in kept] == [again.results[name] for name in kept]


def test_evidence_is_labels_beside_scores(trained: tuple[Store, Run]) -> None:
    store, run = trained
    with store.write() as session:
        found = gather(session, run, "test")
        parts = runs.split(session)
        scores = dict(
            session.execute(
                select(Score.triple_id, Score.value).where(Score.run_id == run.id)
            ).all()
        )
    assert len(found) == run.results["tested on"]
    assert {parts[int(image)] for image in found.images} == {"test"}
    assert [scores[int(i)] for i in found.triples] == found.scores.tolist()
    assert (found.since == 0).all()


def test_what_was_chosen_for_what_it_is_says_nothing_of_all(trained: tuple[Store, Run]) -> None:
    store, run = trained
    with store.write() as session:
        items = session.scalars(select(BatchItem).order_by(BatchItem.position)).all()
        ranked, gold, fair = (item.triple_id for item in items[:3])
        items[0].at_random = False
        items[1].votes_required = items[1].slots_used = 0
        since = drawn_since(session, run.name)
        assert (since[ranked], since[gold], since[fair]) == (NEVER, NEVER, 0.0)
        for score_from, score_to, by, begins in (
            (0.6, None, run.name, 0.6),
            (0.6, None, "another", NEVER),
            (None, 0.4, run.name, NEVER),
        ):
            (batch,) = session.scalars(select(Batch)).all()
            batch.selection = {"run": by, "score_from": score_from, "score_to": score_to}
            session.flush()
            assert drawn_since(session, run.name)[fair] == begins


def test_a_filter_that_keeps_only_the_easy_ones_is_seen(trained: tuple[Store, Run]) -> None:
    store, run = trained
    for dimension in DIMENSIONS:
        rows = page_data.slices_of(store, run.name, 0.5, dimension)
        assert sum(row["labelled"] for row in rows) == run.results["tested on"]
        assert sum(row["of all"] for row in rows) == pytest.approx(1, abs=1e-4)
        assert sum(row["of the kept"] for row in rows) == pytest.approx(1, abs=1e-4)
    counts = {row["regions"] for row in page_data.slices_of(store, None, 0.5, "regions")}
    assert counts <= {"0", "1", "2", "3 or more"}
    with pytest.raises(UserError, match="no dimension 'mood': use one of source"):
        page_data.slices_of(store, None, 0.5, "mood")


def test_a_slice_is_what_it_says(trained: tuple[Store, Run]) -> None:
    """Precision of a kind, by hand."""
    store, run = trained
    with store.write() as session:
        found = gather(session, run, "test")
        kind = dict(session.execute(select(Triple.id, Triple.kind)).all())
    kinds = np.array([kind[int(i)] for i in found.triples])
    for row in page_data.slices_of(store, run.name, 0.4, "kind"):
        kept = (kinds == row["kind"]) & (found.scores >= 0.4)
        assert row["labelled"] == (kinds == row["kind"]).sum()
        if kept.any():
            assert row["precision"] == pytest.approx(found.accepted[kept].mean(), abs=1e-5)


def test_the_next_votes_are_those_that_narrow_it(trained: tuple[Store, Run]) -> None:
    """Triples above the threshold, of test images, drawn by chance, that nobody has judged."""
    store, run = trained
    with pytest.raises(UserError, match=r"nothing that 0\.3 keeps waits for votes on test images"):
        vote_planning.send(store, run.name, 0.3, "estimate", size=5, votes_required=3)
    with store.write() as session:
        of_test = select(Triple.id).join(Split, Split.image_id == Triple.image_id)
        of_test = of_test.where(Split.part == "test").order_by(Triple.id)
        freed = session.scalars(of_test).all()[::2]
        session.query(Vote).filter(Vote.triple_id.in_(freed)).delete()
        session.query(BatchItem).filter(BatchItem.triple_id.in_(freed)).delete()
        there = look(session, run, 0.3, "estimate")
        assert there.width is not None
        assert there.after(there.labelled * 3) == pytest.approx(there.width / 2)
    name, count = vote_planning.send(store, run.name, 0.3, "estimate", size=5, votes_required=3)
    assert name == f"estimate 1 of {run.name} at 0.30"
    with store.write() as session:
        drawn = session.scalars(
            select(BatchItem.triple_id).join(Batch).where(Batch.name == name)
        ).all()
        assert len(drawn) == count == min(5, there.waiting)
        assert set(drawn) <= set(freed)
        scores = session.scalars(
            select(Score.value).where(Score.run_id == run.id, Score.triple_id.in_(drawn))
        ).all()
        assert min(scores) >= 0.3
        # They count from this threshold on, and for nothing below it.
        assert {drawn_since(session, run.name)[i] for i in drawn} == {0.3}
        assert look(session, run, 0.3, "estimate").waiting == there.waiting - count
    with pytest.raises(UserError, match="0 triples to label"):
        vote_planning.send(store, run.name, 0.3, "estimate", size=0, votes_required=3)


def test_active_batches_do_not_colour_the_test(trained: tuple[Store, Run]) -> None:
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
    assert run.results["tested on"] == len(by_chance)
    assert run.results["not drawn by chance"] > 0


# ---- the annotators' own error


def test_one_error_in_ten_is_taken_out() -> None:
    """A true precision of .90 measures .82 where one vote in ten is wrong (one vote each)."""
    one = label_noise.Accuracy(0.9, 0.9, 1, "")
    assert label_noise.corrected(0.82, one) == pytest.approx(0.9)
    # Three votes each err less together: .9 becomes .972.
    assert label_noise.Accuracy(0.9, 0.9, 3, "").of_labels()[0] == pytest.approx(0.972)
    assert label_noise.corrected(0.82, label_noise.Accuracy(0.5, 0.5, 3, "")) is None


def test_errors_are_measured_on_gold_or_by_agreement(demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=[0.8, 0.8, 0.8], seed=3)
    with demo_store.write() as session:
        assert label_noise.accuracy(session, simulated=False) is None
        found = label_noise.accuracy(session, simulated=True)
        assert found is not None
        assert "by agreement" in found.measured
        assert found.on_good == pytest.approx(0.8, abs=0.07)
        for triple_id, flaw in session.execute(select(AnswerKey.triple_id, AnswerKey.flaw)):
            decision = "reject" if flaw else "accept"
            session.add(Gold(triple_id=triple_id, decision=decision, reasons=[], created=now()))
        session.flush()
        found = label_noise.accuracy(session, simulated=True)
        assert found is not None
        assert "on gold" in found.measured
        assert (found.on_good + found.on_bad) / 2 == pytest.approx(0.8, abs=0.05)


# ---- training anew


def test_after_so_many_votes_it_trains_anew(demo_store: Store) -> None:
    retraining.begin(demo_store, 300, QUICK, PictureSettings())
    assert retraining.train_if_due(demo_store) is None
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    with demo_store.read() as session:
        assert retraining.standing(session) == {
            "every": 300,
            "votes": 471,
            "kind": "baseline",
            "error": "",
        }
    name = retraining.train_if_due(demo_store)
    assert name == "critic-1"
    assert retraining.train_if_due(demo_store) is None
    with demo_store.read() as session:
        (past,) = retraining.history(session)
        assert past["labelled"] == 157
        assert 0 < past["average precision"] <= 1
    retraining.end(demo_store)
    with demo_store.read() as session:
        assert retraining.standing(session) is None


def test_why_a_retraining_failed_is_kept(demo_store: Store) -> None:
    retraining.begin(demo_store, 1, replace(QUICK, labels="gone"), PictureSettings())
    simulate_votes(demo_store, accuracies=[0.9])
    with pytest.raises(UserError, match="no labels named 'gone'"):
        retraining.train_if_due(demo_store)
    with demo_store.read() as session:
        found = retraining.standing(session)
        assert found is not None
        assert "no labels named" in found["error"]
    with pytest.raises(UserError, match="after 0 votes"):
        retraining.begin(demo_store, 0, QUICK, PictureSettings())
