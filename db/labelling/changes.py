"""Change a batch that exists: open it again, require more votes, add triples, set its price."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlalchemy import exists, func, insert, select, update
from sqlalchemy.orm import Session

from db.labelling import batches
from db.labelling.batches import Selection
from db.schema import Adjudication, Batch, BatchItem, PriceUnit
from db.store import queries
from regions.errors import ConflictError, InvalidError, NotFoundError

_CUT = ("run", "score_from", "score_to")
"""Fields of a selection that make its triples unlike all others."""


@dataclass(frozen=True, slots=True)
class Extension:
    """What was changed about a batch."""

    batch: str
    votes_each: int
    new_triples: int
    triples_with_more_votes: int
    adjudicated_triples: int
    """They get no more votes."""


def reopen(session: Session, name: str, votes_each: int | None = None) -> Extension:
    """Open a batch to annotators again; with `votes_each`, each triple requires so many votes.

    ConflictError if there would be nothing to label.
    """
    batch = _locked(session, name)
    extension = Extension(name, batch.votes_required, 0, 0, 0)
    if votes_each is not None:
        extension = require_votes(session, name, votes_each)
    if not _missing_votes(session, batch):
        raise ConflictError(
            "every triple of this batch has its votes",
            where=name,
            hint="require more votes for each, or extend the batch",
        )
    batch.open = True
    return extension


def require_votes(session: Session, name: str, votes_each: int) -> Extension:
    """Require `votes_each` votes for each triple of a batch; adjudicated triples get no more."""
    batch = _locked(session, name)
    if votes_each <= batch.votes_required:
        raise InvalidError(
            f"each triple of this batch requires {batch.votes_required} votes already",
            where=name,
            hint=f"require {batch.votes_required + 1} or more",
        )
    is_adjudicated = exists().where(
        Adjudication.triple_id == BatchItem.triple_id, Adjudication.withdrawn.is_(None)
    )
    to_label = (
        BatchItem.batch_id == batch.id,
        BatchItem.votes_required > 0,
        BatchItem.votes_required < votes_each,
    )
    n_adjudicated = session.scalar(select(func.count()).where(*to_label, is_adjudicated)) or 0
    changed = session.execute(
        update(BatchItem)
        .where(*to_label, ~is_adjudicated)
        .values(votes_required=votes_each)
        .execution_options(synchronize_session=False)
    )
    batch.votes_required = votes_each
    n_changed: int = changed.rowcount  # type: ignore[attr-defined]
    return Extension(name, votes_each, 0, n_changed, n_adjudicated)


def add_triples(session: Session, name: str, selection: Selection, *, seed: int) -> Extension:
    """Select triples that are not in a batch and add them at its end, in the order it has.

    Triples of a selection that is cut by other scores or votes than the batch's are not recorded as
    drawn at random. NotFoundError if no triple matches.
    """
    rng = np.random.default_rng(seed)
    batch = _locked(session, name)
    in_batch = set(
        session.scalars(select(BatchItem.triple_id).where(BatchItem.batch_id == batch.id))
    )
    candidates = [t for t in batches.select_candidates(session, selection) if t not in in_batch]
    sample = batches.draw_sample(session, candidates, selection, rng)
    if not sample:
        raise NotFoundError(
            "no triples match that are not in this batch", where=name, hint="relax the selection"
        )
    urgency = batches.label_urgency(session, batch.ordering, sample, selection.run)
    share = 1.0 if batch.ordering == "random" else batch.random_share
    ordered = batches.draw_order(sample, urgency, share, rng)
    is_same_cut = _cut(batch.selection) == _cut(asdict(selection))
    first = batches.next_position(session, batch.id)
    session.execute(
        insert(BatchItem),
        [
            {
                "batch_id": batch.id,
                "position": position,
                "triple_id": triple_id,
                "votes_required": batch.votes_required,
                "slots_used": 0,
                "at_random": at_random and is_same_cut,
            }
            for position, (triple_id, at_random) in enumerate(ordered, first)
        ],
    )
    return Extension(name, batch.votes_required, len(sample), 0, 0)


def set_price(session: Session, name: str, price: float | None, unit: PriceUnit) -> None:
    """Set what annotators of a batch are paid per vote or hour; None: unknown."""
    if price is not None and not 0 <= price < float("inf"):
        raise InvalidError(f"a price cannot be {price:g}", where=name, hint="use 0 or more")
    batch = queries.by_name(session, Batch, name)
    batch.price, batch.price_unit = price, unit


def _locked(session: Session, name: str) -> Batch:
    """The batch of this name, which one transaction at a time changes."""
    batch = queries.by_name(session, Batch, name)
    session.refresh(batch, with_for_update=True)
    return batch


def _missing_votes(session: Session, batch: Batch) -> bool:
    missing = select(BatchItem.triple_id).where(
        BatchItem.batch_id == batch.id, BatchItem.slots_used < BatchItem.votes_required
    )
    return session.scalar(missing.limit(1)) is not None


def _cut(selection: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a selection is cut by; nothing without limits of the score and of disagreement."""
    has_limits = any(selection.get(name) is not None for name in ("score_from", "score_to"))
    limits = tuple(selection.get(name) for name in _CUT) if has_limits else ()
    return (*limits, selection.get("votes") == "split")
