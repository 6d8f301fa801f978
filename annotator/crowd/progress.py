"""How far a batch is, for one person."""

import threading
import time
from dataclasses import dataclass

from sqlalchemy import Connection, select, text
from sqlalchemy.orm import Session

from db.schema import Batch
from regions.errors import NotFoundError

_LARGE = 10_000
_KEPT_SECONDS = 10.0
"""Counts of a large batch are as good as new for so long; counting a million takes a while."""

_COUNT = text(
    "SELECT COUNT(*) AS total,"
    " COALESCE(SUM(CASE WHEN slots_used < votes_required THEN 1 ELSE 0 END), 0) AS open"
    " FROM batch_items WHERE batch_id = :batch AND votes_required > 0"
)
# By the person's votes, not by the batch's triples: few beside many.
_MINE = text("""
    SELECT COALESCE(SUM(CASE WHEN decision <> 'skip' THEN 1 ELSE 0 END), 0) AS judged,
           COALESCE(SUM(CASE WHEN slots_used < votes_required THEN 1 ELSE 0 END), 0) AS open
    FROM votes JOIN batch_items AS item
      ON item.batch_id = :batch AND item.triple_id = votes.triple_id
    WHERE votes.person_id = :person AND votes.withdrawn IS NULL AND item.votes_required > 0
""")
_LEASED = text("""
    SELECT COUNT(*) FROM leases JOIN batch_items AS item
      ON item.batch_id = leases.batch_id AND item.position = leases.position
    WHERE leases.batch_id = :batch AND person_id = :person
      AND votes_required > 0 AND slots_used >= votes_required
""")


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """A batch as one person sees it: `left` are triples that still want this person's vote."""

    name: str
    votes_required: int
    total: int
    mine: int
    left: int
    open: bool


class ProgressCounter:
    """Tells people how far they are."""

    def __init__(self) -> None:
        self._counts: dict[int, tuple[float, int, int]] = {}
        self._counting = threading.Lock()

    def all_batches(
        self, session: Session, person_id: int, only: str | None = None
    ) -> list[BatchProgress]:
        """Every batch, the newest first; with `only`, that one."""
        query = select(Batch).order_by(Batch.id.desc())
        if only is not None:
            query = query.where(Batch.name == only)
        return [self._of(session, batch, person_id) for batch in session.scalars(query).all()]

    def batch(self, session: Session, name: str, person_id: int) -> BatchProgress:
        """How far a batch is; UserError where there is none of that name."""
        return self._of(session, get_batch(session, name), person_id)

    def _of(self, session: Session, batch: Batch, person_id: int) -> BatchProgress:
        connection = session.connection()
        asked = {"batch": batch.id, "person": person_id}
        total, open_ = self._count(connection, batch.id)
        mine = connection.execute(_MINE, asked).one()
        held = connection.execute(_LEASED, asked).scalar_one()
        left = max(0, open_ - mine.open) + held
        return BatchProgress(
            batch.name, batch.votes_required, total, int(mine.judged), left, batch.open
        )

    def _count(self, connection: Connection, batch_id: int) -> tuple[int, int]:
        with self._counting:  # whoever asks meanwhile takes the same answer
            until, total, open_ = self._counts.get(batch_id, (0.0, 0, 0))
            if until < time.monotonic():
                row = connection.execute(_COUNT, {"batch": batch_id}).one()
                total, open_ = int(row.total), int(row.open)
                if total > _LARGE:
                    self._counts[batch_id] = time.monotonic() + _KEPT_SECONDS, total, open_
            return total, open_


def get_batch(session: Session, name: str) -> Batch:
    """A batch by its name; UserError where there is none."""
    batch = session.scalar(select(Batch).where(Batch.name == name))
    if batch is None:
        raise NotFoundError(f"no batch named {name!r}", hint="make one with `lskd batch`")
    return batch
