"""Never the same person twice, never too many votes, whatever crashes or repeats."""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select, update

from annotator import queue
from annotator.queue import Queue
from db.batches import make_batch
from db.clock import now
from db.schema import (
    BatchItem,
    Decision,
    Image,
    ImageRegion,
    Lease,
    Person,
    Reason,
    Source,
    Triple,
    Vote,
)
from db.session import Store
from regions.errors import UserError

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
                shown=[0],
                source="s",
            )
            for i in range(triples)
        )
        persons = [Person(name=f"p{i}", role="annotator", created=now()) for i in range(people)]
        session.add_all(persons)
        session.flush()
        ids = session.scalars(select(Triple.id)).all()
        make_batch(session, BATCH, list(ids), wanted=wanted, rng=np.random.default_rng(0))
        return [person.id for person in persons]


def vote(
    store: Store,
    person: int,
    item: dict[str, Any],
    key: str,
    *,
    decision: Decision = "accept",
    reasons: Sequence[Reason] = (),
    ahead: int = 0,
    after: int = -1,
) -> list[dict[str, Any]]:
    return Queue(store).decide(
        person,
        BATCH,
        item["position"],
        decision=decision,
        reasons=reasons,
        key=key,
        duration_ms=1200,
        ahead=ahead,
        after=after,
    )


def taken(store: Store) -> list[int]:
    with store.read() as session:
        return list(session.scalars(select(BatchItem.taken).order_by(BatchItem.position)))


def standing(store: Store) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).where(Vote.withdrawn.is_(None))) or 0


def test_what_is_leased_comes_again_until_it_is_judged(store: Store) -> None:
    (person, *_) = fill(store)
    first = Queue(store).lease(person, BATCH, 2)
    again = Queue(store).lease(person, BATCH, 2)
    assert [i["position"] for i in first] == [i["position"] for i in again] == [0, 1]
    assert first[0]["regions"][0]["label"] == "dog"
    assert first[0]["mentioned"] == (0,)


def test_a_vote_sent_twice_counts_once(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = Queue(store).lease(person, BATCH, 1)
    for _ in range(2):
        vote(store, person, item, "key-number-1")
    assert standing(store) == 1
    assert taken(store)[0] == 1


def test_a_second_opinion_of_the_same_person_is_refused(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = Queue(store).lease(person, BATCH, 1)
    vote(store, person, item, "key-number-1")
    with pytest.raises(queue.Refused, match="judged this triple already"):
        vote(store, person, item, "key-number-2")


def test_nobody_is_given_a_triple_that_has_enough_votes_and_leases(store: Store) -> None:
    people = fill(store, triples=1, wanted=2)
    assert [len(Queue(store).lease(person, BATCH, 1)) for person in people] == [1, 1, 0]


def test_a_lease_that_expires_goes_to_somebody_else(store: Store) -> None:
    first, second, _ = fill(store, triples=1, wanted=1)
    (item,) = Queue(store).lease(first, BATCH, 1)
    assert Queue(store).lease(second, BATCH, 1) == []
    with store.write() as session:
        session.execute(update(Lease).values(expires=now() - 1))
    assert len(Queue(store).lease(second, BATCH, 1)) == 1
    with pytest.raises(queue.Refused, match="others have finished"):
        vote(store, first, item, "key-too-late")
    assert standing(store) == 0


def test_a_late_vote_counts_while_its_place_is_free(store: Store) -> None:
    first, second, _ = fill(store, triples=2, wanted=1)
    (item,) = Queue(store).lease(first, BATCH, 1)
    with store.write() as session:
        session.execute(update(Lease).values(expires=now() - 1))
        session.execute(update(BatchItem).where(BatchItem.position == 1).values(taken=1))
    assert len(Queue(store).lease(second, BATCH, 0)) == 0  # reclaims, leases nothing
    vote(store, first, item, "key-just-in-time")
    assert (standing(store), taken(store)) == (1, [1, 1])


def test_a_skip_gives_the_place_back_and_is_remembered(store: Store) -> None:
    first, second, _ = fill(store, triples=1, wanted=1)
    (item,) = Queue(store).lease(first, BATCH, 1)
    vote(store, first, item, "key-of-skip", decision="skip")
    assert taken(store) == [0]
    assert Queue(store).lease(first, BATCH, 1) == []
    assert len(Queue(store).lease(second, BATCH, 1)) == 1


def test_undo_brings_the_item_back_and_keeps_the_old_vote(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = Queue(store).lease(person, BATCH, 1)
    vote(store, person, item, "key-number-1")
    back = Queue(store).undo(person, "key-number-1")
    assert back["position"] == item["position"]
    assert standing(store) == 0
    vote(store, person, back, "key-number-2", decision="reject", reasons=["trivial"])
    with store.read() as session:
        votes = session.scalars(select(Vote).order_by(Vote.id)).all()
    assert [(v.decision, v.withdrawn is None) for v in votes] == [
        ("accept", False),
        ("reject", True),
    ]
    assert taken(store)[0] == 1
    with pytest.raises(queue.Refused, match="withdrawn already"):
        Queue(store).undo(person, "key-number-1")


def test_nobody_undoes_the_vote_of_another(store: Store) -> None:
    first, second, _ = fill(store)
    (item,) = Queue(store).lease(first, BATCH, 1)
    vote(store, first, item, "key-number-1")
    with pytest.raises(queue.Refused):
        Queue(store).undo(second, "key-number-1")


def test_reasons_go_with_a_rejection_only(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = Queue(store).lease(person, BATCH, 1)
    with pytest.raises(UserError, match="reasons go with a rejection"):
        vote(store, person, item, "key-number-1", reasons=["trivial"])
    with pytest.raises(UserError, match="are those of the page"):
        vote(store, person, item, "key-number-1", decision="reject", reasons=["ugly"])  # type: ignore[list-item]


def test_the_next_items_come_with_the_vote_and_from_behind_the_last_one(store: Store) -> None:
    (person, *_) = fill(store)
    (item,) = Queue(store).lease(person, BATCH, 1)
    following = vote(store, person, item, "key-number-1", ahead=2, after=3)
    assert [i["position"] for i in following] == [4, 5]
    assert [i["position"] for i in Queue(store).lease(person, BATCH, 4, after=5)] == [4, 5, 1, 2]


def test_progress_counts_what_is_left_for_this_person(store: Store) -> None:
    first, second, _ = fill(store, triples=3, wanted=1)
    (item,) = Queue(store).lease(first, BATCH, 1)
    vote(store, first, item, "key-number-1")
    with store.read() as session:
        mine, theirs = (queue.progress(session, BATCH, p) for p in (first, second))
    assert (mine.total, mine.mine, mine.left) == (3, 1, 2)
    assert (theirs.total, theirs.mine, theirs.left) == (3, 0, 2)


def test_an_unknown_batch_is_named(store: Store) -> None:
    with pytest.raises(UserError, match="no batch named 'none'"):
        Queue(store).lease(1, "none", 1)


def test_eight_people_at_once_never_vote_twice_or_too_often(store: Store) -> None:
    people = fill(store, triples=40, wanted=3, people=8)
    errors: list[Exception] = []

    def work(person: int) -> None:
        try:
            items = Queue(store).lease(person, BATCH, 2)
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
