"""What annotation has cost so far, and what it will cost until every required vote is cast.

A batch has a price per vote or per hour of active time. Votes on gold are paid for like others;
skips cost time only. To come are the votes that open batches still require.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import case, func
from sqlalchemy.orm import Session

from annotator.crowd.batch_rows import BatchRow
from db.schema import Batch, PriceUnit, Vote
from db.store import queries

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class CostRow:
    """The cost of a batch; None where it is unknown."""

    batch: str
    price: float | None
    price_unit: PriceUnit
    votes: int
    """Votes cast, with those on gold."""
    hours: float
    """Active time of all votes and skips."""
    missing_votes: int
    so_far: float | None
    to_come: float | None


@dataclass(frozen=True, slots=True)
class Cost:
    """Totals over the batches with a price; None if there is none."""

    so_far: float | None
    to_come: float | None
    unpriced_batches: int
    batches: list[CostRow]


def annotation_cost(
    session: Session, batches: Sequence[BatchRow], pace_ms: float | None, *, simulated: bool
) -> Cost:
    """The cost of these batches. `pace_ms` is the time of a vote where a batch has none yet."""
    n_votes = func.sum(case((Vote.decision != "skip", 1), else_=0))
    query = (
        queries.standing_votes(
            *(Batch.name, n_votes, func.sum(Vote.duration_ms), func.count(Vote.duration_ms)),
            simulated=simulated,
        )
        .join(Batch, Batch.id == Vote.batch_id)
        .group_by(Batch.name)
    )
    cast = {
        name: (int(votes or 0), int(total_ms or 0), timed)
        for name, votes, total_ms, timed in session.execute(query)
    }
    rows = [_row(batch, *cast.get(batch.name, (0, 0, 0)), pace_ms) for batch in batches]
    priced = [row for row in rows if row.so_far is not None]
    unknown = any(row.to_come is None for row in priced)
    return Cost(
        so_far=sum(row.so_far or 0.0 for row in priced) if priced else None,
        to_come=None if unknown or not priced else sum(row.to_come or 0.0 for row in priced),
        unpriced_batches=len(rows) - len(priced),
        batches=rows,
    )


def _row(batch: BatchRow, votes: int, total_ms: int, timed: int, pace_ms: float | None) -> CostRow:
    missing = max(0, batch.votes_required - batch.votes) if batch.open else 0
    hours = total_ms / _HOUR_MS
    so_far = to_come = None
    if batch.price is not None and batch.price_unit == "vote":
        so_far, to_come = batch.price * votes, batch.price * missing
    elif batch.price is not None:
        mean_ms = total_ms / timed if timed else pace_ms
        so_far = batch.price * hours
        if not missing:
            to_come = 0.0
        elif mean_ms is not None:
            to_come = batch.price * missing * mean_ms / _HOUR_MS
    return CostRow(
        batch.name, batch.price, batch.price_unit, votes, hours, missing, so_far, to_come
    )
