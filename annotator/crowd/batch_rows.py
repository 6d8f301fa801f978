"""Batches as rows: their settings, triples and votes."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.schema import Batch, BatchItem, Order, PriceUnit, Vote
from db.store import queries


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch with its settings, triples, required votes in total, and votes."""

    name: str
    open: bool
    ordering: Order
    random_share: float
    gold_rate: float
    qualification_items: int
    min_gold_accuracy: float
    fast_ms: int
    votes_each: int
    """Votes required for each triple."""
    triples: int
    votes_required: int
    votes: int
    price: float | None
    """What annotators are paid per `price_unit`; None: unknown."""
    price_unit: PriceUnit


def list_batches(session: Session) -> list[BatchRow]:
    """Every batch, newest first."""
    required = (
        select(
            BatchItem.batch_id,
            func.count().label("triples"),
            func.sum(BatchItem.votes_required).label("votes_required"),
        )
        .where(BatchItem.votes_required > 0)
        .group_by(BatchItem.batch_id)
        .subquery()
    )
    votes = (
        select(Vote.batch_id, func.count().label("votes"))
        .join(
            BatchItem,
            (BatchItem.batch_id == Vote.batch_id) & (BatchItem.triple_id == Vote.triple_id),
        )
        .where(Vote.withdrawn.is_(None), Vote.decision != "skip", BatchItem.votes_required > 0)
        .group_by(Vote.batch_id)
        .subquery()
    )
    query = (
        select(Batch, required.c.triples, required.c.votes_required, votes.c.votes)
        .outerjoin(required, required.c.batch_id == Batch.id)
        .outerjoin(votes, votes.c.batch_id == Batch.id)
        .order_by(Batch.id.desc())
    )
    return [
        BatchRow(
            name=batch.name,
            open=batch.open,
            ordering=batch.ordering,
            random_share=batch.random_share,
            gold_rate=batch.gold_rate,
            qualification_items=batch.qualification_items,
            min_gold_accuracy=batch.min_gold_accuracy,
            fast_ms=batch.fast_ms,
            votes_each=batch.votes_required,
            triples=n_triples or 0,
            votes_required=int(n_required or 0),
            votes=n_votes or 0,
            price=batch.price,
            price_unit=batch.price_unit,
        )
        for batch, n_triples, n_required, n_votes in session.execute(query)
    ]


def set_batch_open(session: Session, name: str, *, is_open: bool) -> None:
    """Open a batch to annotators, or close it; votes on leased items are still accepted."""
    queries.by_name(session, Batch, name).open = is_open
