"""A batch to label, and shorthand for what annotators do."""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import func, select

from annotator.labelling.leases import LeaseHolder
from annotator.labelling.payloads import ItemPayload
from annotator.labelling.queue import Queue
from annotator.labelling.votes import VoteInput
from db.labelling.batches import make_batch
from db.schema import (
    BatchItem,
    Decision,
    Image,
    ImageRegion,
    Person,
    Reason,
    Source,
    Triple,
    Vote,
)
from db.store.clock import now
from db.store.session import Store

BATCH = "pilot"


def fill(store: Store, *, triples: int = 6, votes_required: int = 2, people: int = 3) -> list[int]:
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
        make_batch(
            session, BATCH, list(ids), votes_required=votes_required, rng=np.random.default_rng(0)
        )
        return [person.id for person in persons]


def add_votes(store: Store, people: Sequence[int], votes: Sequence[str]) -> None:
    """Add votes by triple and person: + accepts, - rejects."""
    with store.write() as session:
        triples = session.scalars(select(Triple.id).order_by(Triple.id)).all()
        session.add_all(
            Vote(
                key=f"{triple} {person}",
                triple_id=triple,
                person_id=person,
                decision="accept" if sign == "+" else "reject",
                created=0,
            )
            for triple, signs in zip(triples, votes, strict=False)
            for person, sign in zip(people, signs, strict=False)
        )


def lease(
    store: Store, person: int, count: int, *, tab: str = "", quota: int | None = None
) -> list[ItemPayload]:
    return Queue(store).next_items(LeaseHolder(person, tab, quota), BATCH, count).items


def vote(
    store: Store,
    person: int,
    item: ItemPayload,
    key: str,
    *,
    decision: Decision = "accept",
    reasons: Sequence[Reason] = (),
    ahead: int = 0,
) -> list[ItemPayload]:
    vote_input = VoteInput(key, decision, reasons, 1200)
    holder = LeaseHolder(person)
    result = Queue(store).submit_vote(holder, BATCH, item["triple"], vote_input, ahead=ahead)
    return result.items


def slots_used(store: Store) -> list[int]:
    with store.read() as session:
        return list(session.scalars(select(BatchItem.slots_used).order_by(BatchItem.position)))


def standing_votes(store: Store) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).where(Vote.withdrawn.is_(None))) or 0
