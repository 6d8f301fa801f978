"""Training anew after so many votes: that it shall be is in the store, so that a restart knows."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from critic.settings import PictureSettings, TrainSettings
from db.schema import Person, Retraining, Run, Vote
from db.store.clock import now
from db.store.session import Store
from regions.errors import UserError
from regions.progress import Progress, no_progress


def begin(store: Store, every: int, settings: TrainSettings, looks: PictureSettings) -> None:
    """From now on train anew after `every` votes, with these settings."""
    if every < 1:
        raise UserError(f"after {every} votes", hint="use 1 or more, such as 200")
    with store.write() as session:
        session.execute(delete(Retraining))
        session.add(
            Retraining(
                every=every,
                settings=asdict(settings) | asdict(looks) | {"name": ""},
                votes=_votes(session, simulated=settings.simulated),
                created=now(),
            )
        )


def end(store: Store) -> None:
    """No more."""
    with store.write() as session:
        session.execute(delete(Retraining))


def standing(session: Session) -> dict[str, Any] | None:
    """How far it is to the next training; None where none is wanted."""
    wanted = session.scalar(select(Retraining))
    if wanted is None:
        return None
    cast = _votes(session, simulated=bool(wanted.settings["simulated"]))
    return {
        "every": wanted.every,
        "votes": max(0, cast - wanted.votes),  # votes may be withdrawn
        "kind": wanted.settings["kind"],
        "error": wanted.error,
    }


def is_due(session: Session) -> bool:
    """Whether so many votes have come."""
    found = standing(session)
    return found is not None and found["votes"] >= found["every"]


def train_if_due(store: Store, progress: Progress = no_progress) -> str | None:
    """Train if so many votes have come; the run's name. Why it failed is kept beside."""
    from critic.training.train import (
        train,  # scikit-learn: whoever only asks whether it is due needs none
    )

    with store.write() as session:
        if not is_due(session):
            return None
        wanted = session.scalars(select(Retraining)).one()
        wanted.votes = _votes(session, simulated=bool(wanted.settings["simulated"]))
        chosen = dict(wanted.settings)
    try:
        run = train(store, _of(TrainSettings, chosen), progress, looks=_of(PictureSettings, chosen))
    except UserError as error:
        _keep(store, str(error))
        raise
    _keep(store, "")
    return run.name


def history(session: Session) -> list[dict[str, Any]]:
    """Average precision of every critic, the oldest first, and how many labels it learned from."""
    query = select(Run).where(Run.kind == "critic", Run.status == "done").order_by(Run.id)
    return [
        {
            "name": run.name,
            "kind": run.settings.get("kind", "baseline"),
            "labelled": run.results.get("labelled"),
            "average precision": run.results.get("average precision"),
            "interval": run.results.get("average precision interval"),
        }
        for run in session.scalars(query)
    ]


def _keep(store: Store, error: str) -> None:
    with store.write() as session:
        session.execute(update(Retraining).values(error=error))


def _of(settings: Any, chosen: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a dataclass, and one of it
    return settings(**{field.name: chosen[field.name] for field in fields(settings)})


def _votes(session: Session, *, simulated: bool) -> int:
    query = select(func.count()).select_from(Vote).where(Vote.withdrawn.is_(None))
    if not simulated:
        query = query.join(Person, Person.id == Vote.person_id).where(~Person.simulated)
    return session.scalar(query) or 0
