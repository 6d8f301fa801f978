"""Routing by expected information: the measure, the ranking, and leases on both databases."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from annotator.labelling import invariants
from annotator.labelling.leases import LeaseHolder
from annotator.labelling.queue import Queue
from annotator.labelling.votes import VoteInput
from annotator.labels import routing
from annotator.labels.routing import BatchEstimate, InformationRouter, Ranking, expected_information
from db.schema import Batch, BatchItem, Triple, Vote
from db.store.session import Store
from tests.annotator.labelling import BATCH, fill

PROBABILITY = st.floats(0.001, 0.999)


@given(PROBABILITY, PROBABILITY, PROBABILITY)
def test_a_vote_tells_at_most_what_is_unknown(p: float, sensitivity: float, spec: float) -> None:
    (information,) = expected_information(np.array([p]), sensitivity, spec)
    unknown = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    assert 0 <= information <= unknown + 1e-9
    # Who answers at random tells nothing.
    assert expected_information(np.array([p]), sensitivity, 1 - sensitivity) == pytest.approx(0)
    (mirrored,) = expected_information(np.array([1 - p]), spec, sensitivity)
    assert mirrored == pytest.approx(information, abs=1e-9)


def test_information_is_the_expected_loss_of_entropy_by_hand() -> None:
    p, sensitivity, specificity = 0.3, 0.9, 0.7

    def entropy(q: float) -> float:
        return float(-(q * np.log(q) + (1 - q) * np.log(1 - q)))

    accepts = p * sensitivity + (1 - p) * (1 - specificity)
    if_accept, if_reject = p * sensitivity / accepts, p * (1 - sensitivity) / (1 - accepts)
    expected = entropy(p) - accepts * entropy(if_accept) - (1 - accepts) * entropy(if_reject)
    (information,) = expected_information(np.array([p]), sensitivity, specificity)
    assert information == pytest.approx(expected)


def estimate(
    accept: list[float],
    *,
    at_random: tuple[int, ...] = (),
    leased: tuple[int, ...] = (),
    rates: dict[int, tuple[float, float]] | None = None,
) -> BatchEstimate:
    """Item i is triple 10 + i, at position 100 - i."""
    n = len(accept)
    return BatchEstimate(
        10 + np.arange(n),
        100 - np.arange(n),
        np.isin(np.arange(n), at_random),
        np.isin(np.arange(n), leased),
        np.array(accept),
        rates or {},
        0.2,
    )


def test_the_least_certain_come_first_and_random_ones_by_position() -> None:
    ranking = Ranking(estimate([0.9, 0.5, 0.99, 0.3, 0.5, 0.5], at_random=(0, 4), leased=(5,)))
    assert ranking.take(9, at_random=False) == [1, 3, 2]
    assert ranking.take(9, at_random=True) == [4, 0]
    assert ranking.take(9, at_random=True) == []


def test_votes_change_the_order() -> None:
    ranking = Ranking(estimate([0.5, 0.6, 0.7]))
    assert ranking.take(1, at_random=False) == [0]
    ranking.record(10, 1, "accept")
    assert ranking.take(9, at_random=False) == [1, 2, 0]
    ranking.record(10, 1, "reject")  # and is at 0.5 again
    ranking.put_back([1, 2])
    assert ranking.take(9, at_random=False) == [0, 1, 2]
    ranking.record(11, 1, "skip")
    assert ranking.take(9, at_random=False) == [1]
    ranking.record(99, 1, "accept")  # not in the batch
    assert ranking.take(9, at_random=False) == []


def test_each_person_gets_what_their_vote_tells_most_about() -> None:
    """Who accepts nearly everything tells by rejecting, and the other way round."""
    rates = {1: (0.99, 0.4), 2: (0.4, 0.99)}
    ranking = Ranking(estimate([0.35, 0.65], rates=rates))
    first = {person: ranking.best_for(person, [0, 1])[0] for person in rates}
    information = {
        person: expected_information(np.array([0.35, 0.65]), *rates[person]) for person in rates
    }
    assert first == {person: int(np.argmax(values)) for person, values in information.items()}
    assert first[1] != first[2]


# ---- over a store


def informative(store: Store, *, triples: int, votes: int, people: int, share: float) -> list[int]:
    """A batch in the order of information, without items at random positions; its annotators."""
    ids = fill(store, triples=triples, votes_required=votes, people=people)
    with store.write() as session:
        session.execute(update(Batch).values(ordering="information", random_share=share))
        session.execute(update(BatchItem).values(at_random=False))
    return ids


def label(queue: Queue, person: int, triple: int, decision: str, ahead: int = 0) -> list[int]:
    vote = VoteInput(f"{person} on {triple}", decision)  # type: ignore[arg-type]
    result = queue.submit_vote(LeaseHolder(person), BATCH, triple, vote, ahead=ahead)
    return [item["triple"] for item in result.items]


def next_items(queue: Queue, person: int, count: int) -> list[int]:
    return [i["triple"] for i in queue.next_items(LeaseHolder(person), BATCH, count).items]


def by_position(store: Store) -> list[int]:
    with store.read() as session:
        return list(session.scalars(select(BatchItem.triple_id).order_by(BatchItem.position)))


def test_the_triple_that_people_disagree_on_comes_first(store: Store) -> None:
    people = informative(store, triples=8, votes=4, people=5, share=0.0)
    router = InformationRouter(store)
    queue = Queue(store, router)
    order = by_position(store)
    divided = order[-1]
    for triple in order:
        label(queue, people[0], triple, "accept")
        label(queue, people[1], triple, "reject" if triple == divided else "accept")
    router.refresh(1)
    assert next_items(queue, people[0], 4) == []  # nobody gets what they have judged
    assert next_items(queue, people[2], 1) == [divided]
    # While somebody is about to judge it others get something else, also by a new estimate.
    assert divided not in next_items(queue, people[3], 2)
    router.refresh(1)
    assert divided not in next_items(queue, people[3], 3)
    label(queue, people[2], divided, "reject")
    assert next_items(queue, people[4], 1) == [divided]


def test_items_at_random_positions_come_in_the_order_of_positions(store: Store) -> None:
    people = informative(store, triples=12, votes=2, people=2, share=1.0)
    order = by_position(store)
    with store.write() as session:
        drawn = BatchItem.triple_id.in_([order[8], order[5], order[10]])
        session.execute(update(BatchItem).where(drawn).values(at_random=True))
    router = InformationRouter(store)
    router.refresh(1)
    assert next_items(Queue(store, router), people[0], 3) == [order[5], order[8], order[10]]


def test_without_an_estimate_items_come_in_the_order_of_positions(store: Store) -> None:
    people = informative(store, triples=6, votes=2, people=1, share=0.0)
    queue = Queue(store, InformationRouter(store))
    assert next_items(queue, people[0], 3) == by_position(store)[:3]


def test_the_order_is_estimated_in_the_background(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "_MIN_REFRESH_SECONDS", 1e9)  # once
    people = informative(sqlite_store, triples=6, votes=3, people=3, share=0.0)
    divided = by_position(sqlite_store)[-1]
    with ThreadPoolExecutor(1) as executor:
        queue = Queue(sqlite_store, InformationRouter(sqlite_store, executor))
        for triple in by_position(sqlite_store):
            label(queue, people[0], triple, "accept")
            label(queue, people[1], triple, "reject" if triple == divided else "accept")
        assert next_items(queue, people[0], 1) == []
    assert next_items(queue, people[2], 1) == [divided]


def test_people_at_once_complete_a_batch_and_leave_a_consistent_store(store: Store) -> None:
    people = informative(store, triples=20, votes=3, people=5, share=0.3)
    with store.write() as session:
        session.execute(update(BatchItem).where(BatchItem.position < 6).values(at_random=True))
    router = InformationRouter(store, seed=0)
    router.refresh(1)
    queue = Queue(store, router)

    def work(person: int) -> None:
        items = next_items(queue, person, 2)
        done = 0
        while items:
            decision = "accept" if (items[0] + person) % 3 else "reject"
            items = [*items[1:], *label(queue, person, items[0], decision, ahead=2)]
            done += 1
            if done % 5 == 0:
                router.refresh(1)
            items = items or next_items(queue, person, 2)

    threads = [threading.Thread(target=work, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as session:
        votes = session.execute(select(Vote.triple_id, Vote.person_id)).all()
        n_triples = len(session.scalars(select(Triple.id)).all())
    counts = Counter(triple for triple, _ in votes)
    assert set(counts.values()) <= {2, 3}  # the last slots may be those of who has voted already
    assert sum(counts.values()) >= 3 * n_triples - 5
    assert len(set(votes)) == len(votes)
    assert all(not row.violations for row in invariants.check(store, repair=False))
