"""Label aggregation: worked examples, crowd-kit as a reference, and label runs in a store."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import DawidSkene, OneCoinDawidSkene
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from annotator.crowd import gold
from annotator.labels import adjudication, aggregation
from annotator.labels.aggregation import VoteTable
from annotator.labels.label_runs import make_labels
from annotator.labels.method_choice import choose_method
from annotator.labels.settings import METHODS, LabelSettings, Method
from critic.settings import TrainSettings
from critic.training.train import train
from db.demo import project
from db.demo.simulated_annotators import simulate_votes
from db.labelling.labels import stored_labels
from db.schema import AnswerKey, Person, Score, StoredLabel, Triple
from db.store.session import Store
from regions.errors import UserError


def table(rows: list[tuple[int, int, bool]], known: dict[int, bool] | None = None) -> VoteTable:
    triple, person, accept = (np.array(column) for column in zip(*rows, strict=True))
    triples, people = int(triple.max()) + 1, int(person.max()) + 1
    return VoteTable(triple, person, accept.astype(bool), triples, people, known or {})


def crowd(accuracies: list[float], *, triples: int, seed: int) -> tuple[VoteTable, np.ndarray]:
    """Votes of everyone on every triple, and the true answers."""
    rng = np.random.default_rng(seed)
    truth = rng.random(triples) < 0.45
    rows = [
        (t, person, bool(truth[t] == (rng.random() < accuracy)))
        for t in range(triples)
        for person, accuracy in enumerate(accuracies)
    ]
    return table(rows), truth


def test_the_majority_is_a_share_and_a_tie_is_a_half() -> None:
    found = aggregation.majority(
        table([(0, 0, True), (0, 1, True), (0, 2, False), (1, 0, True), (1, 1, False)])
    )
    assert found == pytest.approx([2 / 3, 1 / 2])


def test_one_good_annotator_outweighs_two_coins() -> None:
    votes, truth = crowd([0.95, 0.55, 0.55], triples=600, seed=1)
    is_correct = {
        "majority": (aggregation.majority(votes) > 0.5) == truth,
        "one coin": (aggregation.one_coin(votes).accept > 0.5) == truth,
        "Dawid-Skene": (aggregation.dawid_skene(votes).accept > 0.5) == truth,
    }
    share = {name: float(values.mean()) for name, values in is_correct.items()}
    assert share["one coin"] > share["majority"] + 0.05
    assert share["Dawid-Skene"] > share["majority"] + 0.05


def test_accuracies_are_estimated_without_known_answers() -> None:
    votes, _ = crowd([0.9, 0.8, 0.7, 0.6], triples=3000, seed=2)
    result = aggregation.one_coin(votes)
    assert result.sensitivity == pytest.approx([0.9, 0.8, 0.7, 0.6], abs=0.04)


def test_sensitivity_and_specificity_are_estimated_separately() -> None:
    """A person who accepts nearly everything has high sensitivity and low specificity."""
    rng = np.random.default_rng(3)
    truth = rng.random(2000) < 0.5
    rows = []
    for t in range(2000):
        rows += [(t, p, bool(truth[t] == (rng.random() < 0.85))) for p in range(3)]
        rows.append((t, 3, bool(truth[t] or rng.random() < 0.8)))
    result = aggregation.dawid_skene(table(rows))
    assert result.sensitivity[3] > 0.95
    assert result.specificity[3] == pytest.approx(0.2, abs=0.06)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:crowdkit")
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(aggregation.dawid_skene, DawidSkene), (aggregation.one_coin, OneCoinDawidSkene)],
)
def test_posteriors_equal_crowd_kit(
    ours: Callable[[VoteTable], aggregation.Aggregation], theirs: type[DawidSkene]
) -> None:
    """On many votes, which outweigh our prior on accuracies."""
    votes, _ = crowd([0.9, 0.8, 0.75, 0.7, 0.65], triples=4000, seed=4)
    frame = pd.DataFrame({"task": votes.triple, "worker": votes.person, "label": votes.accept})
    expected = theirs(n_iter=200).fit_predict_proba(frame)[True].to_numpy()
    accept = ours(votes).accept
    assert np.abs(accept - expected).max() < 0.02
    assert np.corrcoef(accept, expected)[0, 1] > 0.9999


def test_the_posterior_is_bayes_rule_computed_by_hand() -> None:
    """No known answers: everyone has the prior accuracy 4/5. Two accept, one rejects."""
    votes = table([(0, 0, True), (0, 1, True), (0, 2, False)])
    accept, reject = 0.8 * 0.8 * 0.2, 0.2 * 0.2 * 0.8
    assert aggregation.weighted(votes).accept[0] == pytest.approx(accept / (accept + reject))


def test_weights_come_from_known_answers() -> None:
    rows = [(t, person, person == 0) for t in range(8) for person in range(3)]
    votes = table(rows, known=dict.fromkeys(range(7), True))
    assert aggregation.weighted(votes).accept[7] > 0.5
    assert aggregation.weighted(table(rows)).accept[7] < 0.5


def test_a_critic_decides_where_votes_are_split() -> None:
    votes = table([(0, 0, True), (0, 1, False), (1, 0, True), (1, 1, False)])
    assert aggregation.with_critic(votes, np.array([0.9, 0.1])).accept == pytest.approx(
        [0.9, 0.1], abs=0.05
    )
    without_scores = aggregation.with_critic(votes, np.array([np.nan, np.nan])).accept
    assert without_scores == pytest.approx([0.5, 0.5], abs=0.01)


ROWS = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 4), st.booleans()),
    min_size=1,
    max_size=60,
    unique_by=lambda row: row[:2],
)


@settings(deadline=None, max_examples=50)
@given(ROWS, st.permutations(range(5)))
def test_relabelling_people_changes_nothing(
    rows: list[tuple[int, int, bool]], names: list[int]
) -> None:
    renamed = [(triple, names[person], accept) for triple, person, accept in rows]
    for method in (aggregation.one_coin, aggregation.dawid_skene):
        assert method(table(rows)).accept == pytest.approx(method(table(renamed)).accept, abs=1e-3)


@settings(deadline=None, max_examples=50)
@given(ROWS)
def test_inverting_every_vote_inverts_every_label(
    rows: list[tuple[int, int, bool]],
) -> None:
    inverted = [(triple, person, not accept) for triple, person, accept in rows]
    for method in (aggregation.one_coin, aggregation.dawid_skene):
        original, flipped = method(table(rows)).accept, method(table(inverted)).accept
        voted = sorted({row[0] for row in rows})
        assert original[voted] == pytest.approx(1 - flipped[voted], abs=1e-3)


# ---- the choice of a method


def biased_crowd(votes_per_triple: int, *, people: int, seed: int) -> tuple[VoteTable, np.ndarray]:
    """1,500 triples, a fifth acceptable, and people of very different sensitivity, specificity."""
    rng = np.random.default_rng(seed)
    truth = rng.random(1500) < 0.2
    sensitivity, specificity = rng.uniform(0.4, 0.95, people), rng.uniform(0.6, 0.99, people)
    person = np.array([rng.permutation(people)[:votes_per_triple] for _ in truth])
    p_accept = np.where(truth[:, None], sensitivity[person], 1 - specificity[person])
    accept = rng.random(person.shape) < p_accept
    triple = np.repeat(np.arange(len(truth)), votes_per_triple)
    return VoteTable(triple, person.ravel(), accept.ravel(), len(truth), people, {}), truth


@pytest.mark.parametrize("seed", range(3))
def test_dawid_skene_is_chosen_where_people_differ_and_then_has_fewer_errors(seed: int) -> None:
    votes, truth = biased_crowd(3, people=30, seed=seed)
    assert choose_method(votes) == "dawid_skene"
    errors = {
        "dawid_skene": np.mean((aggregation.dawid_skene(votes).accept > 0.5) != truth),
        "majority": np.mean((aggregation.majority(votes) > 0.5) != truth),
    }
    assert errors["dawid_skene"] < errors["majority"]


@pytest.mark.parametrize(
    ("votes_per_triple", "people"),
    [(1, 30), (2, 1500), (3, 1500)],
    ids=["single votes", "two by people with two each", "three by people with three each"],
)
def test_the_majority_is_chosen_where_nothing_is_learned_about_people(
    votes_per_triple: int, people: int
) -> None:
    votes, _ = biased_crowd(votes_per_triple, people=people, seed=0)
    assert choose_method(votes) == "majority"


def test_the_majority_is_chosen_where_everybody_is_equally_good() -> None:
    votes, _ = crowd([0.8] * 5, triples=400, seed=5)
    assert choose_method(votes) == "majority"


def test_a_label_run_states_the_method_that_was_chosen(voted: Store) -> None:
    run = make_labels(voted, LabelSettings(simulated=True))
    assert run.settings["method"] == "auto"
    assert run.results["method"] in {"dawid_skene", "majority"}


# ---- over a store


@pytest.fixture
def voted(store: Store) -> Store:
    project.create(store)
    simulate_votes(store, accuracies=(0.9, 0.85, 0.55))
    return store


@pytest.mark.parametrize("method", ["majority", "weighted", "dawid_skene", "one_coin"])
def test_labels_are_stored_with_their_method_and_train_a_critic(
    voted: Store, method: Method
) -> None:
    run = make_labels(voted, LabelSettings(method, simulated=True))
    assert (run.kind, run.status, run.settings["method"]) == ("labels", "done", method)
    with voted.read() as session:
        labels, simulated = stored_labels(session, run.name)
        flaws = dict(session.execute(select(AnswerKey.triple_id, AnswerKey.flaw)).all())
    assert simulated
    assert len(labels) == run.results["triples"] > 150
    is_correct = [label.accept == (flaws[triple] is None) for triple, label in labels.items()]
    assert np.mean(is_correct) > 0.8
    critic = train(voted, TrainSettings(labels=run.name, resamples=20))
    assert critic.simulated
    assert critic.settings["labels"] == run.name


def test_the_critics_scores_are_a_prior(voted: Store) -> None:
    with voted.write() as session:
        triple_id = session.scalars(select(Triple.id)).first()
    critic = train(voted, TrainSettings(simulated=True, resamples=20))
    run = make_labels(voted, LabelSettings("with_critic", simulated=True))
    assert run.settings["critic"] == critic.name
    with voted.read() as session:
        assert session.get(Score, (critic.id, triple_id)) is not None
        assert session.get(StoredLabel, (run.id, triple_id)) is not None


def test_known_answers_override_votes(voted: Store) -> None:
    with voted.write() as session:
        researcher = Person(name="res", role="researcher", created=0)
        session.add(researcher)
        session.flush()
        gold.set_gold(session, 1, "reject")
        gold.set_gold(session, 2, "reject")
        adjudication.adjudicate(session, 2, researcher.id, decision="accept")
    run = make_labels(voted, LabelSettings(simulated=True))
    with voted.read() as session:
        labels, _ = stored_labels(session, run.name)
    assert (labels[1].accept, labels[2].accept) == (False, True)


def test_simulated_votes_count_only_if_requested(voted: Store) -> None:
    with pytest.raises(UserError, match="no votes to aggregate"):
        make_labels(voted, LabelSettings())


def test_an_unknown_method_is_reported_with_the_known_ones(voted: Store) -> None:
    with pytest.raises(UserError, match=rf"no method 'magic'.*{METHODS[0]}"):
        make_labels(voted, LabelSettings("magic", simulated=True))  # type: ignore[arg-type]


def test_unknown_labels_are_reported(voted: Store) -> None:
    with pytest.raises(UserError, match="no labels named 'none'"):
        train(voted, TrainSettings(labels="none"))
