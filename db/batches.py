"""Batches: triples to be labelled together, in an order drawn once and stored."""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from db.clock import now
from db.schema import Batch, BatchItem, Triple
from db.session import Store
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
    if wanted < 1:
        raise UserError(f"a batch cannot want {wanted} votes", where=name, todo="use 1 or more")
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


def draw_batch(store: Store, name: str, *, wanted: int, size: int | None, seed: int) -> int:
    """A batch of `size` triples (None: all) that are in no batch yet; how many it holds."""
    rng = np.random.default_rng(seed)
    with store.write() as session:
        free = session.scalars(
            select(Triple.id)
            .where(Triple.id.not_in(select(BatchItem.triple_id)))
            .order_by(Triple.id)
        ).all()
        drawn = rng.permutation(len(free))[:size]
        make_batch(session, name, [free[i] for i in drawn], wanted=wanted, rng=rng)
    return len(drawn)
