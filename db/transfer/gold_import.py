"""Store imported gold about stored triples; gold that is already stored stays as it is."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.formats.gold_rows import GoldRow
from db.formats.rows import RowRejection
from db.labelling.batches import add_gold
from db.schema import Batch, Gold
from db.store.clock import now
from db.transfer.driver_sql import batched, insert_new
from db.transfer.vote_import import triple_ids, unknown_triple


class GoldWriter:
    """Stores the gold of one import run, and counts what is new."""

    def __init__(self) -> None:
        self._new = 0

    def new_counts(self) -> dict[str, int]:
        """Return how many records of each kind are new."""
        return {"gold": self._new}

    def write(self, session: Session, gold: Sequence[GoldRow]) -> list[RowRejection]:
        """Store what is new; return rejections of unknown triples and of other decisions.

        Open batches that use gold get it at once.
        """
        if not gold:
            return []
        triples = triple_ids(session, {row.triple for row in gold})
        known = _known_decisions(session, sorted(set().union(*triples.values())))
        rejections: list[RowRejection] = []
        new: list[tuple[Any, ...]] = []
        for row in gold:
            ids = triples.get(row.triple, set())
            if len(ids) != 1:
                rejections.append(unknown_triple(row.line, row.triple, ids))
                continue
            (triple_id,) = ids
            earlier = known.setdefault(triple_id, row.decision)
            if earlier != row.decision:
                reason = f"this triple is gold already: {earlier}; change it with `lskd gold set`"
                rejections.append(RowRejection(row.line, "decision", reason))
                continue
            new.append(
                (
                    *(triple_id, row.decision, json.dumps(row.reasons), row.note),
                    *(row.is_training_item, now()),
                )
            )
        columns = "triple_id", "decision", "reasons", "note", "is_training_item", "created"
        self._new += insert_new(session, "gold", columns, new)
        uses_gold = (Batch.gold_rate > 0) | (Batch.qualification_items > 0)
        for batch in session.scalars(select(Batch).where(Batch.open, uses_gold)).all():
            add_gold(session, batch)
        return rejections


def _known_decisions(session: Session, ids: Sequence[int]) -> dict[int, str]:
    known: dict[int, str] = {}
    for chunk in batched(ids):
        query = select(Gold.triple_id, Gold.decision).where(Gold.triple_id.in_(chunk))
        known.update((triple_id, decision) for triple_id, decision in session.execute(query))
    return known
