"""What the store holds, in numbers: simulated votes are counted apart from people's."""

from typing import Any

from sqlalchemy import func, select

from db.schema import (
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


def status(store: Store) -> dict[str, Any]:
    """Counts of every kind of record, and the names of the runs and releases."""
    with store.read() as session:
        votes: dict[bool, int] = dict(
            session.execute(
                select(Person.simulated, func.count())
                .join(Vote, Vote.person_id == Person.id)
                .where(Vote.withdrawn.is_(None), Vote.decision != "skip")
                .group_by(Person.simulated)
            ).all()
        )
        counts = {
            name: session.scalar(select(func.count()).select_from(table)) or 0
            for name, table in {
                "images": Image,
                "regions": ImageRegion,
                "verbalizations": Verbalization,
                "triples": Triple,
                "instructions": Instruction,
                "calls to models": Call,
            }.items()
        }
        return {
            "store": store.engine.url.render_as_string(hide_password=True),
            **counts,
            "votes": votes.get(False, 0),
            "simulated votes": votes.get(True, 0),
            **{
                plural: list(session.scalars(select(column).order_by(column)))
                for plural, column in {"batches": Batch.name, "releases": Release.name}.items()
            },
            "runs": [
                f"{name} ({state})"
                for name, state in session.execute(select(Run.name, Run.status).order_by(Run.id))
            ],
        }
