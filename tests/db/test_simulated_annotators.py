"""Simulated annotators: as accurate as they say, named as what they are, and repeatable."""

import pytest
from sqlalchemy import select

from db.demo.simulated_annotators import simulate_votes
from db.schema import AnswerKey, Person, Vote
from db.store.session import Store
from regions.errors import UserError


def test_an_accuracy_of_1_votes_by_the_answer_key(demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=[1.0])
    with demo_store.read() as session:
        pairs = session.execute(
            select(AnswerKey.flaw, Vote.decision, Vote.reasons).join(
                Vote, Vote.triple_id == AnswerKey.triple_id
            )
        ).all()
    assert pairs
    for flaw, decision, reasons in pairs:
        assert (decision, reasons) == (("reject", [flaw]) if flaw else ("accept", []))


def test_votes_agree_with_the_key_at_the_given_accuracy(demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=[0.8] * 10)
    with demo_store.read() as session:
        pairs = session.execute(
            select(AnswerKey.flaw, Vote.decision).join(Vote, Vote.triple_id == AnswerKey.triple_id)
        ).all()
    agreeing = sum((flaw is None) == (decision == "accept") for flaw, decision in pairs)
    assert agreeing / len(pairs) == pytest.approx(0.8, abs=0.04)


def test_simulated_annotators_are_marked_as_simulated(demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=[0.9, 0.8])
    with demo_store.read() as session:
        people = session.scalars(select(Person).order_by(Person.name)).all()
    assert [p.name for p in people] == ["simulated 1 (accuracy 0.9)", "simulated 2 (accuracy 0.8)"]
    assert all(p.simulated and p.password_hash is None for p in people)


def test_simulating_again_changes_nothing(demo_store: Store) -> None:
    first = simulate_votes(demo_store, accuracies=[0.9, 0.8], seed=3)
    assert first > 0
    assert simulate_votes(demo_store, accuracies=[0.9, 0.8], seed=3) == 0


def test_an_accuracy_outside_0_to_1_is_an_error(demo_store: Store) -> None:
    with pytest.raises(UserError, match=r"accuracy must be between 0 and 1 \(got 90\)"):
        simulate_votes(demo_store, accuracies=[90])


def test_a_store_without_an_answer_key_is_an_error(store: Store) -> None:
    with pytest.raises(UserError, match="answer key"):
        simulate_votes(store, accuracies=[0.9])
