"""Count what the store holds; simulated votes are counted apart from people's."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.schema import (
    Base,
    Batch,
    Call,
    Image,
    ImageRegion,
    Instruction,
    Person,
    Release,
    Run,
    Triple,
    Verbalization,
    Vote,
)
from db.store.session import Store


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """Number of records of each kind, and the names of batches, releases and runs."""

    store: str
    images: int
    regions: int
    verbalizations: int
    triples: int
    instructions: int
    llm_calls: int
    votes: int
    simulated_votes: int
    batches: list[str]
    releases: list[str]
    runs: list[str]
    """With their states: "critic-1 (done)"."""


def store_status(store: Store) -> StoreStatus:
    """Return the status of a store."""
    with store.read() as session:
        votes = dict(
            session.execute(
                select(Person.simulated, func.count())
                .join(Vote, Vote.person_id == Person.id)
                .where(Vote.withdrawn.is_(None), Vote.decision != "skip")
                .group_by(Person.simulated)
            ).all()
        )
        runs = session.execute(select(Run.name, Run.status).order_by(Run.id))
        return StoreStatus(
            store=store.engine.url.render_as_string(hide_password=True),
            images=_count(session, Image),
            regions=_count(session, ImageRegion),
            verbalizations=_count(session, Verbalization),
            triples=_count(session, Triple),
            instructions=_count(session, Instruction),
            llm_calls=_count(session, Call),
            votes=votes.get(False, 0),
            simulated_votes=votes.get(True, 0),
            batches=list(session.scalars(select(Batch.name).order_by(Batch.name))),
            releases=list(session.scalars(select(Release.name).order_by(Release.name))),
            runs=[f"{name} ({status})" for name, status in runs],
        )


def _count(session: Session, record: type[Base]) -> int:
    return session.scalar(select(func.count()).select_from(record)) or 0
