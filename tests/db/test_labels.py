"""Votes to labels, by hand and by invariant."""

import random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from db.demo.simulated_annotators import simulate_votes
from db.labelling.labels import Label, majority, majority_labels, part_targets, share_interval
from db.schema import REASONS, Decision, Reason, Vote
from db.store.session import Store

votes: st.SearchStrategy[list[tuple[Decision, list[Reason]]]] = st.lists(
    st.tuples(
        st.sampled_from(get_args(Decision)),
        st.lists(st.sampled_from(REASONS), unique=True, max_size=2),
    ),
    max_size=7,
)


def of_shares(
    *, accepts: int, votes: int, qa: bool | None = None, rationale: bool | None = None
) -> Label:
    """The label of a triple on which that many vote."""
    low, high = share_interval(accepts, votes)
    share = accepts / votes
    return Label(7, share > 0.5, votes, accepts, qa, rationale, share, low, high)


def test_two_of_three_votes_are_a_majority() -> None:
    label = majority(7, [("accept", []), ("reject", ["wrong_answer"]), ("accept", [])])
    assert label == of_shares(accepts=2, votes=3, qa=True, rationale=True)


def test_the_interval_of_a_share_is_jeffreys() -> None:
    for accepts, n_votes in ((1, 3), (2, 3), (7, 10)):
        expected = proportion_confint(accepts, n_votes, method="jeffreys")
        assert share_interval(accepts, n_votes) == pytest.approx(expected)


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_interval_of_a_share_contains_it_and_mirrors_the_interval_of_the_rest(
    accepts: int, rejects: int
) -> None:
    n_votes = accepts + rejects
    low, high = share_interval(accepts, n_votes)
    assert low <= accepts / max(1, n_votes) <= high
    assert share_interval(rejects, n_votes) == pytest.approx((1 - high, 1 - low))


def test_a_rejection_for_the_rationale_alone_accepts_question_and_answer() -> None:
    label = majority(7, [("reject", ["unsupported"]), ("accept", []), ("reject", ["unsupported"])])
    assert label == of_shares(accepts=1, votes=3, qa=True, rationale=False)


def test_a_rejection_without_a_reason_has_no_part_targets() -> None:
    label = majority(7, [("reject", [])])
    assert label == of_shares(accepts=0, votes=1)


def test_a_wrong_answer_leaves_the_rationale_unknown() -> None:
    assert part_targets("reject", ["wrong_answer"]) == (False, None)
    assert part_targets("reject", ["wrong_answer", "unsupported"]) == (False, False)


def test_ties_and_skips_give_no_label() -> None:
    assert majority(7, [("accept", []), ("reject", [])]) is None
    assert majority(7, [("skip", [])]) is None
    assert majority(7, []) is None


@given(votes, st.randoms(use_true_random=False))
def test_the_order_of_votes_does_not_matter(
    cast: list[tuple[Decision, list[Reason]]], rng: random.Random
) -> None:
    shuffled = rng.sample(cast, len(cast))
    assert majority(1, cast) == majority(1, shuffled)


def test_simulated_votes_count_only_on_request(demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=[1.0])
    with demo_store.read() as session:
        assert majority_labels(session) == {}
        assert len(majority_labels(session, simulated=True)) > 100


def test_a_withdrawn_vote_does_not_count(demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=[1.0])
    with demo_store.write() as session:
        session.query(Vote).update({"withdrawn": 1})
    with demo_store.read() as session:
        assert majority_labels(session, simulated=True) == {}
