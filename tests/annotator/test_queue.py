"""The queue: nobody votes twice on a triple, and no triple gets too many votes."""

import threading
from collections import Counter

import numpy as np
import pytest
from sqlalchemy import func, select, update

from annotator.crowd import batch_rows, gold, guidelines
from annotator.crowd.gold import TrainingFeedback
from annotator.labelling.leases import LeaseHolder
from annotator.labelling.progress import ProgressCounter
from annotator.labelling.queue import Queue
from annotator.labelling.votes import VoteInput
from annotator.labels import adjudication
from db.labelling.batches import QualityPolicy, make_batch
from db.schema import (
    BatchItem,
    Gold,
    Lease,
    Triple,
    Vote,
)
from db.store.clock import now
from db.store.session import Store
from regions.errors import ConflictError, UserError
from tests.annotator.labelling import BATCH, fill, lease, slots_used, standing_votes, vote


def test_leased_items_are_returned_until_they_are_judged(store: Store) -> None:
    (person, *_) = fill(store)
    first = lease(store, person, 2)
    again = lease(store, person, 2)
    assert len(first) == 2
    assert first == again
    assert first[0]["regions"][0]["label"] == "dog"
    assert first[0]["mentioned"] == (0,)


def test_a_vote_sent_twice_counts_once(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = lease(store, person, 1)
    for _ in range(2):
        vote(store, person, item, "key-number-1")
    assert standing_votes(store) == 1
    assert slots_used(store)[0] == 1


def test_a_second_vote_by_the_same_person_is_refused(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = lease(store, person, 1)
    vote(store, person, item, "key-number-1")
    with pytest.raises(ConflictError, match="already judged this triple"):
        vote(store, person, item, "key-number-2")


def test_a_triple_with_enough_votes_and_leases_is_not_leased(store: Store) -> None:
    people = fill(store, triples=1, votes_required=2)
    assert [len(lease(store, person, 1)) for person in people] == [1, 1, 0]


def test_an_expired_lease_goes_to_another_person(store: Store) -> None:
    first, second, _ = fill(store, triples=1, votes_required=1)
    (item,) = lease(store, first, 1)
    assert lease(store, second, 1) == []
    with store.write() as session:
        session.execute(update(Lease).values(expires=now() - 1))
    assert len(lease(store, second, 1)) == 1
    with pytest.raises(ConflictError, match="already has all its votes"):
        vote(store, first, item, "key-too-late")
    assert standing_votes(store) == 0


def test_a_late_vote_counts_while_a_slot_is_free(store: Store) -> None:
    first, second, _ = fill(store, triples=2, votes_required=1)
    (item,) = lease(store, first, 1)
    with store.write() as session:
        session.execute(update(Lease).values(expires=now() - 1))
        session.execute(update(BatchItem).where(BatchItem.position == 1).values(slots_used=1))
    assert len(lease(store, second, 0)) == 0  # expires leases, adds none
    vote(store, first, item, "key-just-in-time")
    assert (standing_votes(store), slots_used(store)) == (1, [1, 1])


def test_a_skip_releases_the_slot_and_is_not_shown_again(store: Store) -> None:
    first, second, _ = fill(store, triples=1, votes_required=1)
    (item,) = lease(store, first, 1)
    vote(store, first, item, "key-of-skip", decision="skip")
    assert slots_used(store) == [0]
    assert lease(store, first, 1) == []
    assert len(lease(store, second, 1)) == 1


def test_undo_brings_the_item_back_and_keeps_the_old_vote(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = lease(store, person, 1)
    vote(store, person, item, "key-number-1")
    back = Queue(store).undo(LeaseHolder(person), "key-number-1")
    assert back == item
    assert standing_votes(store) == 0
    vote(store, person, back, "key-number-2", decision="reject", reasons=["trivial"])
    with store.read() as session:
        votes = session.scalars(select(Vote).order_by(Vote.id)).all()
    assert [(v.decision, v.withdrawn is None) for v in votes] == [
        ("accept", False),
        ("reject", True),
    ]
    assert slots_used(store)[0] == 1
    with pytest.raises(ConflictError, match="already withdrawn"):
        Queue(store).undo(LeaseHolder(person), "key-number-1")


def test_another_persons_vote_cannot_be_undone(store: Store) -> None:
    first, second, _ = fill(store)
    (item,) = lease(store, first, 1)
    vote(store, first, item, "key-number-1")
    with pytest.raises(ConflictError):
        Queue(store).undo(LeaseHolder(second), "key-number-1")


def test_only_a_rejection_has_reasons(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = lease(store, person, 1)
    with pytest.raises(UserError, match="only a rejection has reasons"):
        vote(store, person, item, "key-number-1", reasons=["trivial"])
    with pytest.raises(UserError, match="unknown reason 'ugly'"):
        vote(store, person, item, "key-number-1", decision="reject", reasons=["ugly"])  # type: ignore[list-item]


def test_a_vote_returns_the_next_items_from_the_last_position(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = lease(store, person, 1)
    following = vote(store, person, item, "key-number-1", ahead=2)
    assert len(following) == 2
    # A new queue, whose cache is empty, continues at the same position.
    assert lease(store, person, 3)[:2] == following


def test_progress_counts_what_is_left_for_this_person(store: Store) -> None:
    first, second, _ = fill(store, triples=3, votes_required=1)
    (item,) = lease(store, first, 1)
    vote(store, first, item, "key-number-1")
    with store.read() as session:
        first_progress, second_progress = (
            ProgressCounter().batch(session, BATCH, p) for p in (first, second)
        )
    assert (first_progress.total, first_progress.mine, first_progress.left) == (3, 1, 2)
    assert (second_progress.total, second_progress.mine, second_progress.left) == (3, 0, 2)


def test_an_unknown_batch_is_reported(store: Store) -> None:
    with pytest.raises(UserError, match="no batch named 'none'"):
        Queue(store).next_items(LeaseHolder(1), "none", 1)


def test_eight_people_at_once_never_vote_twice_or_too_often(store: Store) -> None:
    people = fill(store, triples=40, votes_required=3, people=8)
    errors: list[Exception] = []

    def work(person: int) -> None:
        try:
            items = lease(store, person, 2)
            count = 0
            while items:
                count += 1
                new = vote(store, person, items[0], f"{person}-{count}-key", ahead=2)
                items = [*items[1:], *new]
        except Exception as error:  # noqa: BLE001 - the assertion shows it
            errors.append(error)

    threads = [threading.Thread(target=work, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with store.read() as session:
        votes = session.execute(select(Vote.triple_id, Vote.person_id)).all()
        assert session.scalar(select(func.count()).select_from(Lease)) == 0
    assert max(Counter(votes).values()) == 1
    assert set(Counter(triple for triple, _ in votes).values()) == {3}
    assert slots_used(store) == [3] * 40


def test_two_tabs_of_a_person_never_show_the_same_triple(store: Store) -> None:
    (person, *_) = fill(store)
    first, second = lease(store, person, 2, tab="one"), lease(store, person, 2, tab="two")
    assert not {i["triple"] for i in first} & {i["triple"] for i in second}
    assert lease(store, person, 2, tab="one") == first


def test_items_of_a_closed_tab_are_returned_when_no_others_are_left(store: Store) -> None:
    (person, *_) = fill(store, triples=2)
    held = lease(store, person, 2, tab="closed")
    assert lease(store, person, 2, tab="new") == held


def test_a_worker_gets_no_more_items_than_the_quota(store: Store) -> None:
    (person, *_) = fill(store)
    assert len(lease(store, person, 4, quota=2)) == 2
    for item in lease(store, person, 4, quota=2):
        vote(store, person, item, f"key-of-{item['triple']}")
    assert lease(store, person, 4, quota=2) == []


def test_a_correction_replaces_the_vote_which_is_kept_as_withdrawn(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = lease(store, person, 1)
    vote(store, person, item, "key-number-1")
    for _ in range(2):  # sent twice
        correction = VoteInput("key-number-2", "reject", ["trivial"])
        Queue(store).correct(LeaseHolder(person), "key-number-1", correction)
    with store.read() as session:
        first, second = session.scalars(select(Vote).order_by(Vote.id)).all()
    assert first.withdrawn is not None
    assert (second.decision, second.reasons, second.replaces) == ("reject", ["trivial"], first.id)
    assert slots_used(store)[0] == 1


def test_a_vote_cannot_be_changed_after_adjudication(store: Store) -> None:
    person, researcher, _ = fill(store)
    (item,) = lease(store, person, 1)
    vote(store, person, item, "key-number-1")
    with store.write() as session:
        adjudication.adjudicate(session, item["triple"], researcher, decision="reject")
    with pytest.raises(ConflictError, match="a researcher has adjudicated"):
        Queue(store).undo(LeaseHolder(person), "key-number-1")
    with pytest.raises(ConflictError, match="a researcher has adjudicated"):
        Queue(store).correct(LeaseHolder(person), "key-number-1", VoteInput("key-number-2", "skip"))


def test_a_vote_records_its_version_of_the_guidelines(store: Store) -> None:
    (person, *_) = fill(store)
    with store.write() as session:
        version = guidelines.save_guidelines(session, "Look twice.", person)
    (item,) = lease(store, person, 1)
    vote_input = VoteInput("key-number-1", "accept", guideline=version)
    Queue(store).submit_vote(LeaseHolder(person), BATCH, item["triple"], vote_input)
    with store.read() as session:
        assert session.scalars(select(Vote.guideline_id)).all() == [version]


def with_gold(
    store: Store, *, policy: QualityPolicy, training: int = 0, hidden: int = 0
) -> list[int]:
    """A batch of 30 triples with gold among them, all to be accepted; the ids of two people."""
    people = fill(store, triples=30 + training + hidden, people=2)
    with store.write() as session:
        ids = list(session.scalars(select(Triple.id).order_by(Triple.id)))
        for n, triple_id in enumerate(ids[30:]):
            gold.set_gold(session, triple_id, "accept", note="see", is_training_item=n < training)
        rng = np.random.default_rng(0)
        make_batch(session, "gold batch", ids[:30], votes_required=2, rng=rng, policy=policy)
    return people


def test_the_qualification_round_comes_first_and_gives_feedback(store: Store) -> None:
    (person, _) = with_gold(
        store, policy=QualityPolicy(qualification_items=2, min_gold_accuracy=0.5), training=3
    )
    labelling, holder = Queue(store), LeaseHolder(person)
    training = labelling.next_items(holder, "gold batch", 4).items
    assert len(training) == 2
    result = labelling.submit_vote(
        holder, "gold batch", training[0]["triple"], VoteInput("training-1", "accept")
    )
    assert result.feedback == TrainingFeedback(right=True, decision="accept", note="see")
    result = labelling.submit_vote(
        holder, "gold batch", training[1]["triple"], VoteInput("training-2", "reject")
    )
    assert result.feedback is not None
    assert not result.feedback.right
    work = labelling.next_items(holder, "gold batch", 4).items
    assert len(work) == 4
    assert (
        labelling.submit_vote(
            holder, "gold batch", work[0]["triple"], VoteInput("work-1", "skip")
        ).feedback
        is None
    )


def test_failing_the_qualification_round_pauses_until_a_researcher_lifts_it(store: Store) -> None:
    person, researcher = with_gold(
        store, policy=QualityPolicy(qualification_items=2, min_gold_accuracy=0.9), training=2
    )
    labelling, holder = Queue(store), LeaseHolder(person)
    for n, item in enumerate(labelling.next_items(holder, "gold batch", 2).items):
        labelling.submit_vote(
            holder, "gold batch", item["triple"], VoteInput(f"training-{n}", "reject")
        )
    result = labelling.next_items(holder, "gold batch", 4)
    assert result.items == []
    assert result.paused is not None
    assert "0 of 2 judgements in the qualification round" in result.paused
    with store.write() as session:
        (pause,) = gold.list_pauses(session)
        gold.lift_pause(session, pause.id, researcher)
    assert len(labelling.next_items(holder, "gold batch", 4).items) == 4


def test_hidden_gold_comes_at_its_rate_and_uses_no_slot(store: Store) -> None:
    (person, _) = with_gold(store, policy=QualityPolicy(gold_rate=0.5), hidden=10)
    labelling, holder = Queue(store), LeaseHolder(person)
    judged = []
    while items := labelling.next_items(holder, "gold batch", 1).items:
        judged.append(items[0])
        labelling.submit_vote(
            holder, "gold batch", items[0]["triple"], VoteInput(f"vote-{len(judged)}", "accept")
        )
    assert len({item["triple"] for item in judged}) == len(judged) >= 30
    with store.read() as session:
        gold_ids = set(session.scalars(select(Gold.triple_id)))
        accuracy = gold.gold_accuracies(session)[person]
        used = session.scalars(
            select(BatchItem.slots_used).where(BatchItem.votes_required == 0)
        ).all()
    is_gold = [item["triple"] in gold_ids for item in judged]
    assert 3 <= sum(is_gold[:20]) <= 10
    assert accuracy.correct == accuracy.judged == sum(is_gold)
    assert set(used) == {0}
    assert {frozenset(item) for item in judged} == {frozenset(judged[0])}  # gold looks alike


def test_low_accuracy_on_hidden_gold_pauses(store: Store) -> None:
    (person, _) = with_gold(
        store, policy=QualityPolicy(gold_rate=0.9, min_gold_accuracy=0.7), hidden=10
    )
    labelling, holder = Queue(store), LeaseHolder(person)
    votes = 0
    while items := labelling.next_items(holder, "gold batch", 2).items:
        votes += 1
        labelling.submit_vote(
            holder, "gold batch", items[0]["triple"], VoteInput(f"vote-{votes}", "reject")
        )
    assert votes < 30
    assert "with a known answer" in (labelling.next_items(holder, "gold batch", 1).paused or "")
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Lease)) == 0
        used = session.scalars(select(BatchItem.slots_used).where(BatchItem.slots_used > 0)).all()
        regular_votes = session.scalar(
            select(func.count()).where(Vote.triple_id.not_in(select(Gold.triple_id)))
        )
    assert sum(used) == regular_votes


def test_a_closed_batch_is_not_leased(store: Store) -> None:
    (person, *_) = fill(store)
    with store.write() as session:
        batch_rows.set_batch_open(session, BATCH, is_open=False)
    assert lease(store, person, 1) == []
