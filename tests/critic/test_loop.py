"""From votes to a release, over a real store."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from critic import page_data
from critic.page_data import at_thresholds
from critic.releases.release import release
from critic.settings import TrainSettings
from critic.training.score import score
from critic.training.train import readiness, train
from db.demo.simulated_annotators import simulate_votes
from db.schema import AnswerKey, Person, Release, ReleaseTriple, Run, Score, Triple, Vote
from db.store import runs
from db.store.session import Store
from regions.errors import UserError

QUICK = TrainSettings(simulated=True, resamples=50)


@pytest.fixture
def trained(demo_store: Store) -> tuple[Store, Run]:
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    return demo_store, train(demo_store, QUICK)


def test_too_few_votes_are_counted(demo_store: Store) -> None:
    with demo_store.write() as session:
        ready = readiness(session)
    assert ready.missing == "40 more labelled triples: 0 of 40 are there"
    with pytest.raises(UserError, match="too few votes: 40 more labelled triples"):
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
    assert run.results["labelled"] == len(keyed[::3])


def test_votes_of_one_kind_teach_nothing(demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=[0.95])
    with demo_store.write() as session:
        session.query(Vote).update({"decision": "accept"})
    with pytest.raises(UserError, match="5 more rejected triples to learn from: 0 of 5"):
        train(demo_store, QUICK)


def test_votes_on_one_image_teach_nothing(demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=[1.0])
    with demo_store.write() as session:
        parts = runs.split(session)
        only = min(image for image, part in parts.items() if part == "train")
        others = [image for image, part in parts.items() if part == "train" and image != only]
        votes = select(Triple.id).where(Triple.image_id.in_(others))
        session.query(Vote).filter(Vote.triple_id.in_(votes)).delete()
    with pytest.raises(UserError, match="labels on a second image to learn from"):
        train(demo_store, QUICK)


def test_a_run_keeps_what_it_did(trained: tuple[Store, Run]) -> None:
    store, run = trained
    assert run.status == "done"
    assert run.simulated
    assert run.settings["folds"] == 5
    assert run.results["labelled"] == run.results["scored"] == 157
    low, high = run.results["average precision interval"]
    assert low <= run.results["average precision"] <= high
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Score)) == 157


def test_learned_and_tested_images_are_apart(trained: tuple[Store, Run]) -> None:
    store, run = trained
    with store.write() as session:
        parts = runs.split(session)
        of = dict(session.execute(select(Triple.id, Triple.image_id)).all())
    count = {part: sum(parts[i] == part for i in of.values()) for part in ("train", "test")}
    assert run.results["learned from"] == count["train"]
    assert run.results["tested on"] == count["test"]


def test_it_finds_the_flaws_of_the_demo_better_than_chance(trained: tuple[Store, Run]) -> None:
    _, run = trained
    assert run.results["average precision"] > run.results["acceptance"] + 0.05


def test_scoring_again_has_nothing_to_do(trained: tuple[Store, Run]) -> None:
    store, run = trained
    assert score(store) == (run.name, 0)
    with store.write() as session:
        session.query(Score).filter(Score.triple_id <= 10).delete()
    assert score(store, run.name) == (run.name, 10)


def test_a_release_of_simulated_votes_has_to_be_meant(trained: tuple[Store, Run]) -> None:
    store, _ = trained
    with pytest.raises(UserError, match=r"simulated votes.*--simulated"):
        release(store, "pilot", 0.5)
    made = release(store, "pilot", 0.5, simulated=True)
    assert made.simulated
    assert made.kept > 0
    assert made.estimate["precision"]["value"] is not None


@given(threshold=st.floats(0, 1))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_release_never_keeps_a_score_below_its_threshold(
    trained: tuple[Store, Run], threshold: float
) -> None:
    store, run = trained
    try:
        made = release(store, f"r{threshold!r}", threshold, simulated=True)
    except UserError as error:
        assert "no score" in str(error) or "exists already" in str(error)  # noqa: PT017
        return
    with store.read() as session:
        scores = session.scalars(
            select(ReleaseTriple.score).where(ReleaseTriple.release_id == made.id)
        ).all()
        expected = session.scalar(
            select(func.count()).where(Score.run_id == run.id, Score.value >= threshold)
        )
    assert len(scores) == made.kept == expected
    assert min(scores) >= threshold


@pytest.mark.parametrize(
    ("name", "threshold", "what"),
    [
        ("", 0.5, "needs a name"),
        ("x", 1.5, "no share"),
        ("x", float("nan"), "no share"),
        ("x", 1.0, "no score"),
        ("pilot", 0.5, "exists already"),
    ],
)
def test_a_release_that_makes_no_sense_changes_nothing(
    trained: tuple[Store, Run], name: str, threshold: float, what: str
) -> None:
    store, _ = trained
    release(store, "pilot", 0.4, simulated=True)
    with pytest.raises(UserError, match=what):
        release(store, name, threshold, simulated=True)
    with store.read() as session:
        assert session.scalars(select(Release.name)).all() == ["pilot"]


def test_the_page_sees_what_lies_around_the_threshold(trained: tuple[Store, Run]) -> None:
    store, run = trained
    rows = page_data.around(store, run.name, 0.5)
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert [row["kept"] for row in rows] == [score >= 0.5 for score in scores]
    curve = page_data.curve_of(store, run.name)
    assert curve["kept of all"][0] == curve["all"] == 157
    assert page_data.overview(store)["critics"][0]["name"] == run.name


def test_a_run_that_is_not_there_is_named(trained: tuple[Store, Run]) -> None:
    store, _ = trained
    with pytest.raises(UserError, match="no critic run named 'other'"):
        at_thresholds(store, "other", None)
