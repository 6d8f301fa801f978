"""How far a batch is, for one person."""

from dataclasses import dataclass

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from db.schema import Batch, BatchItem, Vote
from regions.errors import UserError


@dataclass(frozen=True, slots=True)
class Progress:
    """A batch as one person sees it: `left` are triples that still want this person's vote."""

    name: str
    wanted: int
    total: int
    mine: int
    left: int
    open: bool


def batches(session: Session, person_id: int, only: int | None = None) -> list[Progress]:
    """Every batch, the newest first; with `only`, that one."""
    query = select(Batch.name).order_by(Batch.id.desc())
    if only is not None:
        query = query.where(Batch.id == only)
    return [progress(session, name, person_id) for name in session.scalars(query).all()]


def progress(session: Session, name: str, person_id: int) -> Progress:
    """How far a batch is; UserError where there is none of that name."""
    batch = batch_of(session, name)
    in_batch = (
        select(func.count())
        .select_from(BatchItem)
        .where(BatchItem.batch_id == batch.id, BatchItem.wanted > 0)
    )
    my_votes = select(Vote.triple_id).where(Vote.person_id == person_id, Vote.withdrawn.is_(None))
    judged = my_votes.where(Vote.decision != "skip")
    total = session.scalar(in_batch) or 0
    mine = session.scalar(in_batch.where(BatchItem.triple_id.in_(judged))) or 0
    open_ = in_batch.where(BatchItem.taken < BatchItem.wanted)
    left = session.scalar(open_.where(BatchItem.triple_id.not_in(my_votes))) or 0
    leased = session.execute(
        text("SELECT COUNT(*) FROM leases WHERE batch_id = :batch AND person_id = :person"),
        {"batch": batch.id, "person": person_id},
    ).scalar_one()
    full_but_mine = min(leased, total - mine - left)
    return Progress(batch.name, batch.wanted, total, mine, left + full_but_mine, batch.open)


def batch_of(session: Session, name: str) -> Batch:
    """A batch by its name; UserError where there is none."""
    batch = session.scalar(select(Batch).where(Batch.name == name))
    if batch is None:
        raise UserError(f"no batch named {name!r}", todo="make one with `lskd batch`")
    return batch
