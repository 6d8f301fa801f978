"""History: a person's own votes, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from annotator.labelling.payloads import TriplePayload, triple_payloads
from db.schema import Adjudication, Batch, BatchItem, Decision, Reason, Vote


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A standing vote with its triple, and whether it can still be changed."""

    id: int
    key: str
    decision: Decision
    reasons: Sequence[Reason]
    created: int
    can_change: bool
    item: TriplePayload


def vote_history(
    session: Session, person_id: int, batch: str, *, before: int | None, limit: int
) -> list[HistoryRow]:
    """A page of a person's standing votes in a batch, newest first.

    `before` is the `id` of the last row of the previous page.
    """
    is_adjudicated = exists().where(
        Adjudication.triple_id == Vote.triple_id, Adjudication.withdrawn.is_(None)
    )
    query = (
        select(Vote, is_adjudicated, BatchItem.votes_required)
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
    payloads = triple_payloads(session, [vote.triple_id for vote, _, _ in rows])
    return [
        HistoryRow(
            id=vote.id,
            key=vote.key,
            decision=vote.decision,
            reasons=vote.reasons,
            created=vote.created,
            can_change=bool(votes_required) and not adjudicated,
            item=payloads[vote.triple_id],
        )
        for vote, adjudicated, votes_required in rows
    ]
