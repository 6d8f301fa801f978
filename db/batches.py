"""Batches: triples to be labelled together, in an order drawn once and stored."""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from db.clock import now
from db.schema import Batch, BatchItem
from regions.errors import UserError


def make_batch(
    session: Session,
    name: str,
    triple_ids: Sequence[int],
    *,
    wanted: int,
    rng: np.random.Generator,
) -> Batch:
    """A batch of these triples in random order, `wanted` votes each; UserError if it exists."""
    if session.scalar(select(Batch.id).where(Batch.name == name)) is not None:
        raise UserError(f"a batch named {name!r} is there already", todo="choose another name")
    if not triple_ids:
        raise UserError("no triples for a batch", where=name, todo="import some first")
    batch = Batch(name=name, wanted=wanted, created=now())
    session.add(batch)
    session.flush()
    order = rng.permutation(len(triple_ids))
    session.execute(
        insert(BatchItem),
        [
            {
                "batch_id": batch.id,
                "position": position,
                "triple_id": triple_ids[i],
                "wanted": wanted,
                "taken": 0,
            }
            for position, i in enumerate(order)
        ],
    )
    return batch
