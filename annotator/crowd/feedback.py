"""What annotators say besides votes: flags; and what they said before: their history."""

from typing import Any

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from annotator.crowd.payloads import triple_payloads
from db.schema import Adjudication, Batch, BatchItem, Flag, Triple, Vote
from db.store.clock import now
from regions.errors import InvalidError, NotFoundError

MAX_NOTE_LENGTH = 2_000


def add_flag(session: Session, person_id: int, triple_id: int, note: str) -> None:
    """Ask a researcher to look at a triple; the same words again are the same flag."""
    words = note.strip()
    if not words or len(words) > MAX_NOTE_LENGTH or "\0" in words:
        raise InvalidError(
            f"a flag has a note of 1 to {MAX_NOTE_LENGTH} characters", hint="say why"
        )
    if session.get(Triple, triple_id) is None:
        raise NotFoundError("no such triple", where=str(triple_id))
    same = select(Flag.id).where(
        Flag.triple_id == triple_id,
        Flag.person_id == person_id,
        Flag.note == words,
        Flag.resolved.is_(None),
    )
    if session.scalar(same) is None:
        session.add(Flag(triple_id=triple_id, person_id=person_id, note=words, created=now()))


def vote_history(
    session: Session, person_id: int, batch: str, *, before: int | None, limit: int
) -> list[dict[str, Any]]:
    """A person's standing votes in a batch, the newest first, and whether they can be changed.

    `before` is the `id` of the last one of the page that came before.
    """
    decided = exists().where(
        Adjudication.triple_id == Vote.triple_id, Adjudication.withdrawn.is_(None)
    )
    query = (
        select(Vote, decided, BatchItem.votes_required)
        .join(Batch, Batch.id == Vote.batch_id)
        .join(
            BatchItem,
            (BatchItem.batch_id == Vote.batch_id) & (BatchItem.triple_id == Vote.triple_id),
        )
        .where(Batch.name == batch, Vote.person_id == person_id, Vote.withdrawn.is_(None))
        .order_by(Vote.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(Vote.id < before)
    rows = session.execute(query).all()
    items = triple_payloads(session, [vote.triple_id for vote, _, _ in rows])
    return [
        {
            "id": vote.id,
            "key": vote.key,
            "decision": vote.decision,
            "reasons": vote.reasons,
            "created": vote.created,
            "can_change": bool(wanted) and not adjudicated,
            "item": items[vote.triple_id],
        }
        for vote, adjudicated, wanted in rows
    ]
