"""From votes to a release, on a real store."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from critic import page_data
from critic.page_data import metrics_at_thresholds
from critic.releases.release import create_release
from critic.settings import TrainSettings
from critic.training.score import ScoringSummary, score
from critic.training.train import readiness, train
from db.demo.simulated_annotators import simulate_votes
from db.schema import AnswerKey, Person, Release, ReleaseTriple, Run, Score, Triple, Vote
from db.store import runs
from db.store.session import Store
from regions.errors import ConflictError, UserError
from tests.critic.conftest import QUICK


def test_missing_labels_are_counted(demo_store: Store) -> None:
    with demo_store.write() as session:
        ready = readiness(session)
    assert ready.missing == "40 more labelled triples (0 of 40)"
    with pytest.raises(UserError, match="too few labels: 40 more labelled triples"):
        train(demo_store, TrainSettings())
    with demo_store.read() as session:
        assert session.scalars(select(Run)).all() == []


def test_a_person_who_labels_forty_can_train(demo_store: Store) -> None:
    with demo_store.write() as session:
        session.add(Person(id=1, name="me", role="annotator", created=0))
        session.flush()
        keyed = session.execute(select(AnswerKey.triple_id, AnswerKey.flaw)).all()
        for triple_id, flaw in keyed[::3]:
            decision = "accept" if flaw is None else "reject"
            session.add(
                Vote(
                    key=f"k{triple_id}",
                    triple_id=triple_id,
                    person_id=1,
                    decision=decision,
                    reasons=[],
                    created=0,
                )
            )
    run = train(demo_store, TrainSettings(resamples=20))
    assert not run.simulated
    assert run.results["labelled_triples"] == len(keyed[::3])


def test_training_needs_accepted_and_rejected_triples(demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=[0.95])
    with demo_store.write() as session:
        session.query(Vote).update({"decision": "accept"})
    with pytest.raises(UserError, match=r"5 more rejected triples to train on \(0 of 5\)"):
        train(demo_store, QUICK)


def test_training_needs_labels_on_two_images(demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=[1.0])
    with demo_store.write() as session:
        parts = runs.split(session)
        only = min(image for image, part in parts.items() if part == "train")
        others = [image for image, part in parts.items() if part == "train" and image != only]
        votes = select(Triple.id).where(Triple.image_id.in_(others))
        session.query(Vote).filter(Vote.triple_id.in_(votes)).delete()
    with pytest.raises(UserError, match="labels on a second image to train on"):
        train(demo_store, QUICK)


def test_a_run_stores_settings_results_and_scores(trained: tuple[Store, Run]) -> None:
    store, run = trained
    assert run.status == "done"
    assert run.simulated
    assert run.settings["folds"] == 5
    assert run.results["labelled_triples"] == run.results["scored_triples"] == 157
    average_precision = run.results["average_precision"]
    assert average_precision["low"] <= average_precision["value"] <= average_precision["high"]
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Score)) == 157


def test_training_and_test_images_are_disjoint(trained: tuple[Store, Run]) -> None:
    store, run = trained
    with store.write() as session:
        parts = runs.split(session)
        image_of = dict(session.execute(select(Triple.id, Triple.image_id)).all())
    count = {part: sum(parts[i] == part for i in image_of.values()) for part in ("train", "test")}
    assert run.results["train_triples"] == count["train"]
    assert run.results["test_triples"] == count["test"]


def test_it_finds_the_flaws_of_the_demo_better_than_chance(trained: tuple[Store, Run]) -> None:
    _, run = trained
    assert run.results["average_precision"]["value"] > run.results["acceptance_rate"] + 0.05


def test_only_unscored_triples_are_scored(trained: tuple[Store, Run]) -> None:
    store, run = trained
    assert score(store) == ScoringSummary(run.name, 0)
    with store.write() as session:
        session.query(Score).filter(Score.triple_id <= 10).delete()
    assert score(store, run.name) == ScoringSummary(run.name, 10)


def test_a_release_from_simulated_votes_needs_a_flag(trained: tuple[Store, Run]) -> None:
    store, _ = trained
    with pytest.raises(UserError, match=r"simulated votes.*--simulated"):
        create_release(store, "pilot", 0.5)
    release = create_release(store, "pilot", 0.5, simulated=True)
    assert release.simulated
    assert release.kept > 0
    assert release.estimate["precision"]["value"] is not None


@given(threshold=st.floats(0, 1))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_release_never_keeps_a_score_below_its_threshold(
    trained: tuple[Store, Run], threshold: float
) -> None:
    store, run = trained
    try:
        release = create_release(store, f"r{threshold!r}", threshold, simulated=True)
    except ConflictError as error:
        assert "no triple scored by" in str(error) or "already exists" in str(error)  # noqa: PT017
        return
    with store.read() as session:
        scores = session.scalars(
            select(ReleaseTriple.score).where(ReleaseTriple.release_id == release.id)
        ).all()
        expected = session.scalar(
            select(func.count()).where(Score.run_id == run.id, Score.value >= threshold)
        )
    assert len(scores) == release.kept == expected
    assert min(scores) >= threshold


@pytest.mark.parametrize(
    ("name", "threshold", "message"),
    [
        ("", 0.5, "needs a name"),
        ("x", 1.5, "must be between 0 and 1"),
        ("x", float("nan"), "must be between 0 and 1"),
        ("x", 1.0, "no triple scored by"),
        ("pilot", 0.5, "already exists"),
    ],
)
def test_an_invalid_release_changes_nothing(
    trained: tuple[Store, Run], name: str, threshold: float, message: str
) -> None:
    store, _ = trained
    create_release(store, "pilot", 0.4, simulated=True)
    with pytest.raises(UserError, match=message):
        create_release(store, name, threshold, simulated=True)
    with store.read() as session:
        assert session.scalars(select(Release.name)).all() == ["pilot"]


def test_the_page_gets_the_triples_around_the_threshold(trained: tuple[Store, Run]) -> None:
    store, run = trained
    with store.read() as session:
        triples = page_data.triples_near(session, run.name, 0.5)
    scores = [triple.score for triple in triples]
    assert scores == sorted(scores, reverse=True)
    assert [triple.is_kept for triple in triples] == [score >= 0.5 for score in scores]
    curve = page_data.curve(store, run.name)
    assert curve.kept[0] == curve.scored_triples == 157
    assert page_data.overview(store).critics[0].name == run.name


def test_an_unknown_run_is_named_in_the_error(trained: tuple[Store, Run]) -> None:
    store, _ = trained
    with pytest.raises(UserError, match="no critic run named 'other'"):
        metrics_at_thresholds(store, "other", None)
