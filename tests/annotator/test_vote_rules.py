"""Rules hold for every vote: with a lease, late, sent twice, or at the same moment as another."""

import threading
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import func, select, update

from annotator.crowd import gold
from annotator.labelling import invariants
from annotator.labelling.leases import LeaseHolder
from annotator.labelling.queue import Queue
from annotator.labelling.votes import VoteInput
from annotator.studies import joining, studies
from annotator.studies.platforms import PlatformIds
from db.labelling.batches import QualityPolicy
from db.schema import Batch, BatchItem, Lease, Person, Study, Triple, Vote
from db.store.clock import now
from db.store.session import Store
from regions.errors import ConflictError
from tests.annotator.labelling import BATCH, fill, lease, slots_used, standing_votes, vote
from tests.annotator.test_queue import with_gold


def triples(store: Store) -> Sequence[int]:
    with store.read() as session:
        return session.scalars(select(Triple.id).order_by(Triple.id)).all()


def submit(store: Store, holder: LeaseHolder, triple: int, key: str = "") -> None:
    Queue(store).submit_vote(holder, BATCH, triple, VoteInput(key or f"vote on {triple}", "accept"))


def worker(store: Store, *, quota: int) -> LeaseHolder:
    """A crowd worker who has joined a study over the batch."""
    with store.write() as session:
        study = studies.create_study(session, "study", BATCH, quota=quota)
        joining.join_study(session, study.link, PlatformIds("w1"))
        person = session.scalars(select(Person.id).where(Person.name == "worker w1")).one()
        return LeaseHolder(person, "", quota, study.id)


def close_batch(store: Store) -> None:
    with store.write() as session:
        session.execute(update(Batch).values(open=False))


def close_study(store: Store) -> None:
    with store.write() as session:
        session.execute(update(Study).values(open=False))


def pause_everybody(store: Store) -> None:
    with store.write() as session:
        for person in session.scalars(select(Person.id)):
            gold.pause_in_batch(session, person, BATCH, "look again")


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (close_batch, "this batch is closed"),
        (close_study, "this study is closed"),
        (pause_everybody, "you are paused in this batch: look again"),
    ],
)
def test_what_stops_new_leases_stops_votes_without_one_and_changes(
    store: Store, stop: Callable[[Store], None], reason: str
) -> None:
    fill(store)
    holder = worker(store, quota=5)
    first, second, *_ = triples(store)
    submit(store, holder, first, "an early vote")
    stop(store)
    with pytest.raises(ConflictError, match=reason):
        submit(store, holder, second)
    with pytest.raises(ConflictError, match=reason):
        Queue(store).undo(holder, "an early vote")
    with pytest.raises(ConflictError, match=reason):
        Queue(store).correct(holder, "an early vote", VoteInput("a correction", "reject"))
    assert Queue(store).next_items(holder, BATCH, 4).items == []
    assert standing_votes(store) == 1


def test_a_leased_item_may_be_judged_after_its_batch_is_closed(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = lease(store, person, 1)
    close_batch(store)
    vote(store, person, item, "in time")
    assert standing_votes(store) == 1


def test_an_expired_lease_is_no_lease(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = lease(store, person, 1)
    close_batch(store)
    with store.write() as session:
        session.execute(update(Lease).values(expires=now() - 1))
    queue = Queue(store)
    queue._expire_at = now() + 60_000  # noqa: SLF001 - the sweep has not come by yet
    with pytest.raises(ConflictError, match="batch is closed"):
        queue.submit_vote(
            LeaseHolder(person), BATCH, item["triple"], VoteInput("too late", "accept")
        )


def test_votes_without_a_lease_never_exceed_the_quota(store: Store) -> None:
    fill(store, triples=12)
    holder = worker(store, quota=2)
    refused = 0
    for triple in triples(store):
        try:
            submit(store, holder, triple)
        except ConflictError as error:
            assert "reached the quota" in str(error)  # noqa: PT017 - counted
            refused += 1
    assert (standing_votes(store), refused) == (2, 10)
    assert sum(slots_used(store)) == 2


def test_a_skip_that_becomes_a_decision_counts_towards_the_quota(store: Store) -> None:
    fill(store)
    holder = worker(store, quota=1)
    first, second, *_ = triples(store)
    Queue(store).submit_vote(holder, BATCH, first, VoteInput("a skip", "skip"))
    submit(store, holder, second)
    with pytest.raises(ConflictError, match="reached the quota"):
        Queue(store).correct(holder, "a skip", VoteInput("a decision", "accept"))


def test_work_before_the_qualification_round_is_refused(store: Store) -> None:
    person, _ = with_gold(store, policy=QualityPolicy(qualification_items=2), training=2)
    work, *_, training = triples(store)
    queue, holder = Queue(store), LeaseHolder(person)
    with pytest.raises(ConflictError, match="finish the qualification round first"):
        queue.submit_vote(holder, "gold batch", work, VoteInput("a shortcut", "accept"))
    assert queue.submit_vote(
        holder, "gold batch", training, VoteInput("training", "accept")
    ).feedback


def test_a_vote_is_final_once_its_feedback_was_shown(store: Store) -> None:
    person, _ = with_gold(store, policy=QualityPolicy(qualification_items=1), training=1)
    queue, holder = Queue(store), LeaseHolder(person)
    (item,) = queue.next_items(holder, "gold batch", 1).items
    queue.submit_vote(holder, "gold batch", item["triple"], VoteInput("wrong", "reject"))
    with pytest.raises(ConflictError, match="seen the feedback"):
        queue.undo(holder, "wrong")


def test_a_key_acknowledges_only_the_request_that_was_stored_under_it(store: Store) -> None:
    person, other, _ = fill(store)
    first, second, *_ = triples(store)
    holder = LeaseHolder(person)
    submit(store, holder, first, "the key")
    submit(store, holder, first, "the key")
    with pytest.raises(ConflictError, match="another vote of yours"):
        submit(store, holder, second, "the key")
    with pytest.raises(ConflictError, match="another person's vote"):
        submit(store, LeaseHolder(other), first, "the key")

    submit(store, holder, second, "to correct")
    with pytest.raises(ConflictError, match="this key belongs to another vote"):
        Queue(store).correct(holder, "to correct", VoteInput("the key", "reject"))
    with store.read() as session:
        standing = session.scalars(select(Vote.key).where(Vote.withdrawn.is_(None))).all()
    assert sorted(standing) == ["the key", "to correct"]


def at_the_same_moment(*jobs: Callable[[], object]) -> list[object]:
    """Run jobs in threads that start together; their results, or what they raised."""
    barrier = threading.Barrier(len(jobs))
    outcomes: list[object] = [None] * len(jobs)

    def run(number: int, job: Callable[[], object]) -> None:
        barrier.wait()
        try:
            outcomes[number] = job()
        except ConflictError as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_one_of_undo_and_correction_at_the_same_moment_is_refused(store: Store) -> None:
    (person, *_) = fill(store, triples=20, votes_required=1)
    queues, holder = (Queue(store), Queue(store)), LeaseHolder(person)
    for triple in triples(store):
        submit(store, holder, triple)
        undone, corrected = at_the_same_moment(
            lambda key=f"vote on {triple}": queues[0].undo(holder, key),  # type: ignore[misc]
            lambda key=f"vote on {triple}": queues[1].correct(  # type: ignore[misc]
                holder, key, VoteInput(f"correction of {key}", "reject")
            ),
        )
        refused = [isinstance(outcome, ConflictError) for outcome in (undone, corrected)]
        assert sorted(refused) == [False, True]
    assert not [row for row in invariants.check(store) if row.violations]


def test_two_late_votes_at_the_same_moment_do_not_exceed_the_quota(store: Store) -> None:
    fill(store, triples=20)
    holder = worker(store, quota=1)
    ids = triples(store)
    outcomes = at_the_same_moment(
        *(lambda triple=triple: submit(store, holder, triple) for triple in ids[:6])
    )
    assert sum(outcome is None for outcome in outcomes) == 1
    assert standing_votes(store) == 1


def test_two_tabs_at_the_same_moment_lease_no_more_than_the_quota(store: Store) -> None:
    fill(store, triples=20)
    holder = worker(store, quota=3)
    at_the_same_moment(
        *(
            lambda tab=str(tab): Queue(store).next_items(
                LeaseHolder(holder.person, tab, holder.quota, holder.study), BATCH, 3
            )
            for tab in range(6)
        )
    )
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Lease)) == 3


def test_check_counts_violations_and_repairs_what_takes_no_decision(store: Store) -> None:
    person, other, _ = fill(store, triples=4, votes_required=2)
    (item,) = lease(store, person, 1)
    vote(store, person, item, "a vote")
    assert not [row for row in invariants.check(store) if row.violations]

    with store.write() as session:
        voted = BatchItem.triple_id == item["triple"]
        position = session.scalars(select(BatchItem.position).where(voted)).one()
        batch = session.scalars(select(BatchItem.batch_id).where(voted)).one()
        session.execute(update(BatchItem).where(~voted).values(slots_used=1))
        session.add(Lease(batch_id=batch, position=position, person_id=person, expires=now() * 2))
        session.execute(update(Vote).values(replaces=Vote.id))
    violated = {row.invariant: row.violations for row in invariants.check(store) if row.violations}
    assert violated == {
        "leases beside votes": 1,
        "items with a wrong number of slots used": 4,
        "corrections of standing votes": 1,
    }

    repaired = {row.invariant: row.repaired for row in invariants.check(store, repair=True)}
    assert repaired["items with a wrong number of slots used"] == 4
    assert repaired["leases beside votes"] == 1
    left = {row.invariant: row.violations for row in invariants.check(store) if row.violations}
    assert left == {"corrections of standing votes": 1}
    assert sum(slots_used(store)) == 1
    assert len(lease(store, other, 4)) == 4
