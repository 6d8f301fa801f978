"""Progress of batches, as one person sees it."""

import threading
import time
from dataclasses import dataclass

from sqlalchemy import Connection, select, text
from sqlalchemy.orm import Session

from db.schema import Batch
from db.store import queries

_LARGE_BATCH = 10_000
_COUNT_CACHE_SECONDS = 10.0
"""How long the counts of a large batch are cached: counting a million items is slow."""

_COUNT_ITEMS = text(
    "SELECT COUNT(*) AS total,"
    " COALESCE(SUM(CASE WHEN slots_used < votes_required THEN 1 ELSE 0 END), 0) AS open"
    " FROM batch_items WHERE batch_id = :batch AND votes_required > 0"
)
# Starts from the person's votes, which are few compared with the items of a batch.
_COUNT_OWN = text("""
    SELECT COALESCE(SUM(CASE WHEN decision <> 'skip' THEN 1 ELSE 0 END), 0) AS judged,
           COALESCE(SUM(CASE WHEN slots_used < votes_required THEN 1 ELSE 0 END), 0) AS open
    FROM votes JOIN batch_items AS item
      ON item.batch_id = :batch AND item.triple_id = votes.triple_id
    WHERE votes.person_id = :person AND votes.withdrawn IS NULL AND item.votes_required > 0
""")
_COUNT_LEASED = text("""
    SELECT COUNT(*) FROM leases JOIN batch_items AS item
      ON item.batch_id = leases.batch_id AND item.position = leases.position
    WHERE leases.batch_id = :batch AND person_id = :person
      AND votes_required > 0 AND slots_used >= votes_required
""")


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """Triples of a batch: in total, judged by the person (`mine`), left for the person to judge."""

    name: str
    votes_required: int
    total: int
    mine: int
    left: int
    open: bool


class ProgressCounter:
    """Counts progress; the counts of large batches are cached for all people."""

    def __init__(self) -> None:
        self._counts: dict[int, tuple[float, int, int]] = {}
        self._lock = threading.Lock()

    def all_batches(
        self, session: Session, person_id: int, only: str | None = None
    ) -> list[BatchProgress]:
        """Every batch, newest first; with `only`, the batch of that name."""
        query = select(Batch).order_by(Batch.id.desc())
        if only is not None:
            query = query.where(Batch.name == only)
        return [self._progress(session, batch, person_id) for batch in session.scalars(query).all()]

    def batch(self, session: Session, name: str, person_id: int) -> BatchProgress:
        """The progress of the batch of this name; NotFoundError if it does not exist."""
        return self._progress(session, queries.by_name(session, Batch, name), person_id)

    def _progress(self, session: Session, batch: Batch, person_id: int) -> BatchProgress:
        connection = session.connection()
        key = {"batch": batch.id, "person": person_id}
        total, n_open = self._count(connection, batch.id)
        own = connection.execute(_COUNT_OWN, key).one()
        leased = connection.execute(_COUNT_LEASED, key).scalar_one()
        left = max(0, n_open - own.open) + leased
        return BatchProgress(
            batch.name, batch.votes_required, total, int(own.judged), left, batch.open
        )

    def _count(self, connection: Connection, batch_id: int) -> tuple[int, int]:
        """Items of a batch: in total, and those that still need votes."""
        with self._lock:  # concurrent requests wait for one count
            until, total, n_open = self._counts.get(batch_id, (0.0, 0, 0))
            if until < time.monotonic():
                row = connection.execute(_COUNT_ITEMS, {"batch": batch_id}).one()
                total, n_open = int(row.total), int(row.open)
                if total > _LARGE_BATCH:
                    expires = time.monotonic() + _COUNT_CACHE_SECONDS
                    self._counts[batch_id] = expires, total, n_open
            return total, n_open
