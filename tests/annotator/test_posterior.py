"""Credible intervals of labels: coverage on simulated crowds, and what holds for any votes."""

from itertools import combinations
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sqlalchemy import select

from annotator.crowd import gold
from annotator.labels import aggregation, posterior
from annotator.labels.aggregation import VoteTable
from annotator.labels.label_runs import make_labels
from annotator.labels.settings import FixedMethod, LabelSettings
from db.demo.simulated_annotators import simulate_votes
from db.labelling.labels import stored_labels
from db.schema import StoredLabel
from db.store.session import Store

METHODS: tuple[FixedMethod, ...] = get_args(FixedMethod)
ROWS = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 4), st.booleans()),
    min_size=1,
    max_size=40,
    unique_by=lambda row: row[:2],
)


class Crowd:
    """People whose rates are drawn from the priors of the methods, and their votes."""

    def __init__(self, seed: int, *, triples: int = 200, people: int = 20, votes: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self.truth = rng.random(triples) < 0.4
        rates = rng.beta(aggregation.PRIOR_CORRECT, aggregation.PRIOR_WRONG, (2, people))
        self.sensitivity, self.specificity = np.clip(rates, 1e-9, 1 - 1e-9)
        person = np.array([rng.permutation(people)[:votes] for _ in self.truth])
        p_accept = np.where(
            self.truth[:, None], self.sensitivity[person], 1 - self.specificity[person]
        )
        accept = rng.random(person.shape) < p_accept
        triple = np.repeat(np.arange(triples), votes)
        self.votes = VoteTable(triple, person.ravel(), accept.ravel(), triples, people, {})

    def probabilities(self) -> np.ndarray:
        """Of each triple, by the true rates: what no estimate can improve on."""
        log_odds = np.full(len(self.truth), logit(0.4))
        for triple, person, accept in zip(
            self.votes.triple, self.votes.person, self.votes.accept, strict=True
        ):
            sensitivity, specificity = self.sensitivity[person], self.specificity[person]
            if accept:
                log_odds[triple] += np.log(sensitivity / (1 - specificity))
            else:
                log_odds[triple] += np.log((1 - sensitivity) / specificity)
        return np.asarray(expit(log_odds))


def covered(result: posterior.Posterior, probabilities: np.ndarray) -> float:
    return float(np.mean((result.low <= probabilities) & (probabilities <= result.high)))


@pytest.mark.parametrize(
    "size",
    [{"triples": 200}, {"triples": 300, "people": 100}, {"triples": 300, "votes": 2}],
    ids=["20 people", "100 people", "two votes"],
)
def test_intervals_cover_the_probability_by_the_true_rates(size: dict[str, int]) -> None:
    crowds = [Crowd(seed, **size) for seed in range(4)]
    shares = [
        covered(posterior.posterior(crowd.votes, "dawid_skene"), crowd.probabilities())
        for crowd in crowds
    ]
    assert 0.9 < np.mean(shares) < 0.99


def test_a_probability_is_how_often_triples_are_acceptable() -> None:
    crowds = [Crowd(seed, triples=800) for seed in range(2)]
    accept = np.concatenate([posterior.posterior(c.votes, "dawid_skene").accept for c in crowds])
    truth = np.concatenate([crowd.truth for crowd in crowds])
    for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.0)):
        within = (accept >= low) & (accept <= high)
        assert truth[within].mean() == pytest.approx(accept[within].mean(), abs=0.08)


@pytest.mark.parametrize("method", ["majority", "dawid_skene", "one_coin"])
def test_intervals_narrow_with_votes(method: FixedMethod) -> None:
    widths = []
    for votes in (1, 2, 4, 8):
        result = posterior.posterior(Crowd(1, votes=votes).votes, method)
        widths.append(np.mean(result.high - result.low))
    assert widths == sorted(widths, reverse=True)


def test_weights_learned_on_more_gold_have_narrower_intervals() -> None:
    crowd = Crowd(2)
    widths = []
    for n_known in (0, 20, 150):
        known = {i: bool(crowd.truth[i]) for i in range(n_known)}
        votes = VoteTable(
            crowd.votes.triple, crowd.votes.person, crowd.votes.accept, 200, 20, known
        )
        result = posterior.posterior(votes, "weighted")
        widths.append(np.mean(result.high[150:] - result.low[150:]))
    assert widths == sorted(widths, reverse=True)


def table(rows: list[tuple[int, int, bool]], known: dict[int, bool] | None = None) -> VoteTable:
    triple, person, accept = (np.array(column) for column in zip(*rows, strict=True))
    return VoteTable(triple, person, accept.astype(bool), 8, 5, known or {})


@settings(deadline=None, max_examples=12)
@given(ROWS, st.dictionaries(st.integers(0, 7), st.booleans(), max_size=3))
@pytest.mark.parametrize("method", METHODS)
def test_an_interval_contains_the_label_and_known_answers_have_no_width(
    method: FixedMethod, rows: list[tuple[int, int, bool]], known: dict[int, bool]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(posterior, "SAMPLES", 20)
        patch.setattr(posterior, "BURN_IN", 5)
        result = posterior.posterior(table(rows, known), method, np.linspace(0, 1, 8))
    assert np.all((result.low >= 0) & (result.low <= result.accept))
    assert np.all((result.high <= 1) & (result.high >= result.accept))
    for triple, answer in known.items():
        bounds = result.low[triple], result.accept[triple], result.high[triple]
        assert bounds == (answer, answer, answer)


@pytest.mark.parametrize("method", METHODS)
def test_renaming_people_changes_nothing_but_the_noise_of_sampling(method: FixedMethod) -> None:
    votes = Crowd(3, triples=60, people=6, votes=4).votes
    names = np.array([3, 5, 0, 1, 4, 2])
    renamed = VoteTable(votes.triple, names[votes.person], votes.accept, 60, 6, {})
    first, second = (posterior.posterior(v, method) for v in (votes, renamed))
    assert first.accept == pytest.approx(second.accept, abs=0.06)
    assert np.mean(np.abs(first.low - second.low)) < 0.03
    assert np.mean(np.abs(first.high - second.high)) < 0.03
    assert first.accuracy == pytest.approx(second.accuracy[names], abs=0.03, nan_ok=True)


def test_chunks_of_triples_give_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    votes = Crowd(4, triples=50).votes
    shuffled = np.random.default_rng(0).permutation(len(votes.triple))
    known = {3: True, 30: False}
    votes = VoteTable(
        votes.triple[shuffled], votes.person[shuffled], votes.accept[shuffled], 50, 20, known
    )
    scores = np.linspace(0.1, 0.9, 50)
    whole = posterior.posterior(votes, "with_critic", scores)
    monkeypatch.setattr(posterior, "_CHUNK", 7)
    chunked = posterior.posterior(votes, "with_critic", scores)
    assert chunked.accept == pytest.approx(whole.accept)
    assert chunked.low == pytest.approx(whole.low)


def test_a_critics_scores_move_the_labels_of_divided_votes() -> None:
    camps = [*combinations(range(4), 2), (0, 1), (2, 3)]
    rows = [(t, p, p in accepting) for t, accepting in enumerate(camps) for p in range(4)]
    result = posterior.posterior(table(rows), "with_critic", np.linspace(0.05, 0.95, 8))
    assert result.accept[:2].max() < 0.3
    assert result.accept[-1] > 0.7


# ---- over a store


@pytest.fixture
def voted(demo_store: Store) -> Store:
    simulate_votes(demo_store, accuracies=(0.9, 0.85, 0.55))
    return demo_store


@pytest.mark.parametrize("method", ["majority", "dawid_skene"])
def test_label_runs_store_intervals(voted: Store, method: FixedMethod) -> None:
    with voted.write() as session:
        gold.set_gold(session, 1, "reject")
    run = make_labels(voted, LabelSettings(method, simulated=True))
    with voted.read() as session:
        rows = session.scalars(select(StoredLabel).where(StoredLabel.run_id == run.id)).all()
        labels, _ = stored_labels(session, run.name)
    widths = {row.triple_id: (row.high or 0) - (row.low or 0) for row in rows}
    assert widths.pop(1) == 0
    assert np.mean(list(widths.values())) > 0.05
    assert run.results["mean_width"] == pytest.approx(np.mean([*widths.values(), 0]), abs=1e-6)
    assert 0 < run.results["undecided"] < len(rows)
    label, row = labels[rows[5].triple_id], rows[5]
    assert (label.probability, label.low, label.high) == (row.accept, row.low, row.high)


def test_labels_of_runs_without_intervals_have_no_width(voted: Store) -> None:
    run = make_labels(voted, LabelSettings("majority", simulated=True))
    with voted.write() as session:
        session.query(StoredLabel).update({"low": None, "high": None})
    with voted.read() as session:
        labels, _ = stored_labels(session, run.name)
    assert all(label.low == label.probability == label.high for label in labels.values())
