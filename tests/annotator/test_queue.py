"""Never the same person twice, never too many votes, whatever crashes or repeats."""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select, update

from annotator.crowd import gold as quality
from annotator.crowd import guidelines
from annotator.crowd.leases import LeaseHolder
from annotator.crowd.progress import ProgressCounter
from annotator.crowd.queue import Queue, VoteInput
from annotator.labels import adjudication, statistics
from db.labelling.batches import QualityPolicy, make_batch
from db.schema import (
    BatchItem,
    Decision,
    Gold,
    Image,
    ImageRegion,
    Lease,
    Person,
    Reason,
    Source,
    Triple,
    Vote,
)
from db.store.clock import now
from db.store.session import Store
from regions.errors import ConflictError, UserError

BATCH = "pilot"


def fill(store: Store, *, triples: int = 6, wanted: int = 2, people: int = 3) -> list[int]:
    """A batch of triples about one image, and the ids of some annotators."""
    with store.write() as session:
        session.add(Source(id=1, name="s", root="/nowhere"))
        session.flush()
        session.add(Image(id=1, source_id=1, name="a.jpg", width=100, height=80))
        session.flush()
        session.add(ImageRegion(image_id=1, number=0, x1=1, y1=2, x2=50, y2=60, label="dog"))
        session.add_all(
            Triple(
                key=f"triple {i}",
                image_id=1,
                question=f"What is [0]? {i}",
                answer="A dog.",
                rationale="It barks.",
                visible_regions=[0],
                source="s",
            )
            for i in range(triples)
        )
        persons = [Person(name=f"p{i}", role="annotator", created=now()) for i in range(people)]
        session.add_all(persons)
        session.flush()
        ids = session.scalars(select(Triple.id)).all()
        make_batch(session, BATCH, list(ids), votes_required=wanted, rng=np.random.default_rng(0))
        return [person.id for person in persons]


def lease(
    store: Store, person: int, count: int, *, tab: str = "", quota: int | None = None
) -> list[dict[str, Any]]:
    return Queue(store).next_items(LeaseHolder(person, tab, quota), BATCH, count).items


def vote(
    store: Store,
    person: int,
    item: dict[str, Any],
    key: str,
    *,
    decision: Decision = "accept",
    reasons: Sequence[Reason] = (),
    ahead: int = 0,
) -> list[dict[str, Any]]:
    judgement = VoteInput(key, decision, reasons, 1200)
    return (
        Queue(store)
        .submit_vote(LeaseHolder(person), BATCH, item["triple"], judgement, ahead=ahead)
        .items
    )


def taken(store: Store) -> list[int]:
    with store.read() as session:
        return list(session.scalars(select(BatchItem.slots_used).order_by(BatchItem.position)))


def standing(store: Store) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).where(Vote.withdrawn.is_(None))) or 0


def test_what_is_leased_comes_again_until_it_is_judged(store: Store) -> None:
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
    assert standing(store) == 1
    assert taken(store)[0] == 1


def test_a_second_opinion_of_the_same_person_is_refused(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = lease(store, person, 1)
    vote(store, person, item, "key-number-1")
    with pytest.raises(ConflictError, match="judged this triple already"):
        vote(store, person, item, "key-number-2")


def test_nobody_is_given_a_triple_that_has_enough_votes_and_leases(store: Store) -> None:
    people = fill(store, triples=1, wanted=2)
    assert [len(lease(store, person, 1)) for person in people] == [1, 1, 0]


def test_a_lease_that_expires_goes_to_somebody_else(store: Store) -> None:
    first, second, _ = fill(store, triples=1, wanted=1)
    (item,) = lease(store, first, 1)
    assert lease(store, second, 1) == []
    with store.write() as session:
        session.execute(update(Lease).values(expires=now() - 1))
    assert len(lease(store, second, 1)) == 1
    with pytest.raises(ConflictError, match="others have finished"):
        vote(store, first, item, "key-too-late")
    assert standing(store) == 0


def test_a_late_vote_counts_while_its_place_is_free(store: Store) -> None:
    first, second, _ = fill(store, triples=2, wanted=1)
    (item,) = lease(store, first, 1)
    with store.write() as session:
        session.execute(update(Lease).values(expires=now() - 1))
        session.execute(update(BatchItem).where(BatchItem.position == 1).values(slots_used=1))
    assert len(lease(store, second, 0)) == 0  # reclaims, leases nothing
    vote(store, first, item, "key-just-in-time")
    assert (standing(store), taken(store)) == (1, [1, 1])


def test_a_skip_gives_the_place_back_and_is_remembered(store: Store) -> None:
    first, second, _ = fill(store, triples=1, wanted=1)
    (item,) = lease(store, first, 1)
    vote(store, first, item, "key-of-skip", decision="skip")
    assert taken(store) == [0]
    assert lease(store, first, 1) == []
    assert len(lease(store, second, 1)) == 1


def test_undo_brings_the_item_back_and_keeps_the_old_vote(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = lease(store, person, 1)
    vote(store, person, item, "key-number-1")
    back = Queue(store).undo(LeaseHolder(person), "key-number-1")
    assert back == item
    assert standing(store) == 0
    vote(store, person, back, "key-number-2", decision="reject", reasons=["trivial"])
    with store.read() as session:
        votes = session.scalars(select(Vote).order_by(Vote.id)).all()
    assert [(v.decision, v.withdrawn is None) for v in votes] == [
        ("accept", False),
        ("reject", True),
    ]
    assert taken(store)[0] == 1
    with pytest.raises(ConflictError, match="withdrawn already"):
        Queue(store).undo(LeaseHolder(person), "key-number-1")


def test_nobody_undoes_the_vote_of_another(store: Store) -> None:
    first, second, _ = fill(store)
    (item,) = lease(store, first, 1)
    vote(store, first, item, "key-number-1")
    with pytest.raises(ConflictError):
        Queue(store).undo(LeaseHolder(second), "key-number-1")


def test_reasons_go_with_a_rejection_only(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = lease(store, person, 1)
    with pytest.raises(UserError, match="reasons go with a rejection"):
        vote(store, person, item, "key-number-1", reasons=["trivial"])
    with pytest.raises(UserError, match="are those of the page"):
        vote(store, person, item, "key-number-1", decision="reject", reasons=["ugly"])  # type: ignore[list-item]


def test_the_next_items_come_with_the_vote_and_go_on_where_the_person_was(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = lease(store, person, 1)
    following = vote(store, person, item, "key-number-1", ahead=2)
    assert len(following) == 2
    # Another process, which remembers nothing: it goes on all the same.
    assert lease(store, person, 3)[:2] == following


def test_progress_counts_what_is_left_for_this_person(store: Store) -> None:
    first, second, _ = fill(store, triples=3, wanted=1)
    (item,) = lease(store, first, 1)
    vote(store, first, item, "key-number-1")
    with store.read() as session:
        mine, theirs = (ProgressCounter().batch(session, BATCH, p) for p in (first, second))
    assert (mine.total, mine.mine, mine.left) == (3, 1, 2)
    assert (theirs.total, theirs.mine, theirs.left) == (3, 0, 2)


def test_an_unknown_batch_is_named(store: Store) -> None:
    with pytest.raises(UserError, match="no batch named 'none'"):
        Queue(store).next_items(LeaseHolder(1), "none", 1)


def test_eight_people_at_once_never_vote_twice_or_too_often(store: Store) -> None:
    people = fill(store, triples=40, wanted=3, people=8)
    errors: list[Exception] = []

    def work(person: int) -> None:
        try:
            items = lease(store, person, 2)
            count = 0
            while items:
                count += 1
                new = vote(store, person, items[0], f"{person}-{count}-key", ahead=2)
                items = [*items[1:], *new]
        except Exception as error:  # noqa: BLE001 - shown by the test
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
    assert taken(store) == [3] * 40


def test_two_tabs_of_a_person_never_show_the_same_triple(store: Store) -> None:
    (person, *_) = fill(store)
    first, second = lease(store, person, 2, tab="one"), lease(store, person, 2, tab="two")
    assert not {i["triple"] for i in first} & {i["triple"] for i in second}
    assert lease(store, person, 2, tab="one") == first


def test_what_a_closed_tab_held_comes_when_nothing_else_is_left(store: Store) -> None:
    (person, *_) = fill(store, triples=2)
    held = lease(store, person, 2, tab="closed")
    assert lease(store, person, 2, tab="new") == held


def test_a_worker_is_given_no_more_than_the_quota(store: Store) -> None:
    (person, *_) = fill(store)
    assert len(lease(store, person, 4, quota=2)) == 2
    for item in lease(store, person, 4, quota=2):
        vote(store, person, item, f"key-of-{item['triple']}")
    assert lease(store, person, 4, quota=2) == []


def test_a_corrected_vote_replaces_the_old_one_which_stays(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = lease(store, person, 1)
    vote(store, person, item, "key-number-1")
    for _ in range(2):  # sent twice
        better = VoteInput("key-number-2", "reject", ["trivial"])
        Queue(store).correct(LeaseHolder(person), "key-number-1", better)
    with store.read() as session:
        first, second = session.scalars(select(Vote).order_by(Vote.id)).all()
    assert first.withdrawn is not None
    assert (second.decision, second.reasons, second.replaces) == ("reject", ["trivial"], first.id)
    assert taken(store)[0] == 1


def test_a_vote_stays_once_a_researcher_has_decided(store: Store) -> None:
    person, researcher, _ = fill(store)
    (item,) = lease(store, person, 1)
    vote(store, person, item, "key-number-1")
    with store.write() as session:
        adjudication.adjudicate(session, item["triple"], researcher, decision="reject")
    with pytest.raises(ConflictError, match="a researcher has decided"):
        Queue(store).undo(LeaseHolder(person), "key-number-1")
    with pytest.raises(ConflictError, match="a researcher has decided"):
        Queue(store).correct(LeaseHolder(person), "key-number-1", VoteInput("key-number-2", "skip"))


def test_the_guidelines_that_were_in_force_are_kept_with_the_vote(store: Store) -> None:
    (person, *_) = fill(store)
    with store.write() as session:
        version = guidelines.save_guidelines(session, "Look twice.", person)
    (item,) = lease(store, person, 1)
    judgement = VoteInput("key-number-1", "accept", guideline=version)
    Queue(store).submit_vote(LeaseHolder(person), BATCH, item["triple"], judgement)
    with store.read() as session:
        assert session.scalars(select(Vote.guideline_id)).all() == [version]


def with_gold(
    store: Store, *, watch: QualityPolicy, lessons: int = 0, hidden: int = 0
) -> list[int]:
    """A batch of 30 triples with gold among them, all to be accepted; the ids of two people."""
    people = fill(store, triples=30 + lessons + hidden, people=2)
    with store.write() as session:
        ids = list(session.scalars(select(Triple.id).order_by(Triple.id)))
        for n, triple_id in enumerate(ids[30:]):
            quality.set_gold(session, triple_id, "accept", note="see", is_training_item=n < lessons)
        rng = np.random.default_rng(0)
        make_batch(session, "watched", ids[:30], votes_required=2, rng=rng, policy=watch)
    return people


def test_the_qualification_round_comes_first_and_says_what_was_right(store: Store) -> None:
    (person, _) = with_gold(
        store, watch=QualityPolicy(qualification_items=2, min_gold_accuracy=0.5), lessons=3
    )
    desk, who = Queue(store), LeaseHolder(person)
    lessons = desk.next_items(who, "watched", 4).items
    assert len(lessons) == 2
    said = desk.submit_vote(who, "watched", lessons[0]["triple"], VoteInput("lesson-1", "accept"))
    assert said.feedback == {"right": True, "decision": "accept", "note": "see"}
    said = desk.submit_vote(who, "watched", lessons[1]["triple"], VoteInput("lesson-2", "reject"))
    assert said.feedback is not None
    assert not said.feedback["right"]
    work = desk.next_items(who, "watched", 4).items
    assert len(work) == 4
    assert (
        desk.submit_vote(who, "watched", work[0]["triple"], VoteInput("work-1", "skip")).feedback
        is None
    )


def test_who_fails_the_qualification_pauses_until_a_researcher_lifts_it(store: Store) -> None:
    person, researcher = with_gold(
        store, watch=QualityPolicy(qualification_items=2, min_gold_accuracy=0.9), lessons=2
    )
    desk, who = Queue(store), LeaseHolder(person)
    for n, item in enumerate(desk.next_items(who, "watched", 2).items):
        desk.submit_vote(who, "watched", item["triple"], VoteInput(f"lesson-{n}", "reject"))
    given = desk.next_items(who, "watched", 4)
    assert given.items == []
    assert given.paused is not None
    assert "0 of 2 judgements in the qualification round" in given.paused
    with store.write() as session:
        (pause,) = quality.list_pauses(session)
        quality.lift_pause(session, pause["id"], researcher)
    assert len(desk.next_items(who, "watched", 4).items) == 4


def test_hidden_gold_comes_at_its_rate_and_takes_no_place(store: Store) -> None:
    (person, _) = with_gold(store, watch=QualityPolicy(gold_rate=0.5), hidden=10)
    desk, who = Queue(store), LeaseHolder(person)
    seen = []
    while items := desk.next_items(who, "watched", 1).items:
        seen.append(items[0])
        desk.submit_vote(
            who, "watched", items[0]["triple"], VoteInput(f"vote-{len(seen)}", "accept")
        )
    assert len({item["triple"] for item in seen}) == len(seen) >= 30
    with store.read() as session:
        gold = set(session.scalars(select(Gold.triple_id)))
        found = quality.gold_accuracies(session)[person]
        full = session.scalars(
            select(BatchItem.slots_used).where(BatchItem.votes_required == 0)
        ).all()
    among = [item["triple"] in gold for item in seen[:20]]
    assert 3 <= sum(among) <= 10
    assert found.correct == found.judged == sum(item["triple"] in gold for item in seen)
    assert set(full) == {0}
    assert {frozenset(item) for item in seen} == {frozenset(seen[0])}  # it looks like any other


def test_who_falls_below_the_bar_on_hidden_gold_pauses(store: Store) -> None:
    (person, _) = with_gold(
        store, watch=QualityPolicy(gold_rate=0.9, min_gold_accuracy=0.7), hidden=10
    )
    desk, who = Queue(store), LeaseHolder(person)
    votes = 0
    while items := desk.next_items(who, "watched", 2).items:
        votes += 1
        desk.submit_vote(who, "watched", items[0]["triple"], VoteInput(f"vote-{votes}", "reject"))
    assert votes < 30
    assert "whose answer is known" in (desk.next_items(who, "watched", 1).paused or "")
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Lease)) == 0
        held = session.scalars(select(BatchItem.slots_used).where(BatchItem.slots_used > 0)).all()
        open_votes = session.scalar(
            select(func.count()).where(Vote.triple_id.not_in(select(Gold.triple_id)))
        )
    assert sum(held) == open_votes


def test_a_closed_batch_is_given_to_nobody(store: Store) -> None:
    (person, *_) = fill(store)
    with store.write() as session:
        statistics.set_batch_open(session, BATCH, is_open=False)
    assert lease(store, person, 1) == []
