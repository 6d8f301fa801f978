"""Automatic retraining after a number of new votes; the schedule is kept in the store."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from critic.results import Metrics
from critic.settings import ModelConfig, TrainSettings
from db.schema import Retraining, Run
from db.store import queries
from db.store.clock import now
from db.store.results import UNDEFINED, Estimate, from_json
from db.store.session import Store
from regions.errors import InvalidError, UserError
from regions.progress import Progress, no_progress

Settings = TypeVar("Settings", TrainSettings, ModelConfig)


@dataclass(frozen=True, slots=True)
class RetrainingStatus:
    """The schedule of automatic retraining, and the votes since the last training."""

    every: int
    votes: int
    kind: str
    error: str
    """Why the last retraining failed; empty if it did not."""


@dataclass(frozen=True, slots=True)
class TrainedCritic:
    """A critic in the history of critics."""

    name: str
    kind: str
    labelled_triples: int | None
    average_precision: Estimate = UNDEFINED


def enable(store: Store, every: int, settings: TrainSettings, config: ModelConfig) -> None:
    """Retrain after every `every` new votes, with these settings."""
    if every < 1:
        raise InvalidError(f"the number of votes must be at least 1 (got {every})")
    with store.write() as session:
        session.execute(delete(Retraining))
        session.add(
            Retraining(
                every=every,
                settings=asdict(settings) | asdict(config) | {"name": ""},
                votes=_count_votes(session, simulated=settings.simulated),
                created=now(),
            )
        )


def disable(store: Store) -> None:
    """Disable automatic retraining."""
    with store.write() as session:
        session.execute(delete(Retraining))


def status(session: Session) -> RetrainingStatus | None:
    """The schedule and its progress; None where automatic retraining is disabled."""
    schedule = session.scalar(select(Retraining))
    if schedule is None:
        return None
    votes = _count_votes(session, simulated=bool(schedule.settings["simulated"]))
    return RetrainingStatus(
        schedule.every,
        max(0, votes - schedule.votes),  # votes may be withdrawn
        schedule.settings["kind"],
        schedule.error,
    )


def is_due(session: Session) -> bool:
    """Whether enough new votes have been cast."""
    found = status(session)
    return found is not None and found.votes >= found.every


def train_if_due(store: Store, progress: Progress = no_progress) -> str | None:
    """Train if enough new votes have been cast; the run's name, or None. Errors are stored too."""
    from critic.training.train import train  # scikit-learn, which `is_due` does without

    with store.write() as session:
        if not is_due(session):
            return None
        schedule = session.scalars(select(Retraining)).one()
        schedule.votes = _count_votes(session, simulated=bool(schedule.settings["simulated"]))
        document = dict(schedule.settings)
    settings, config = (
        _settings_from(TrainSettings, document),
        _settings_from(ModelConfig, document),
    )
    try:
        run = train(store, settings, progress, config=config)
    except UserError as error:
        _store_error(store, str(error))
        raise
    _store_error(store, "")
    return run.name


def history(session: Session) -> list[TrainedCritic]:
    """All trained critics, oldest first."""
    query = select(Run).where(Run.kind == "critic", Run.status == "done").order_by(Run.id)
    return [
        TrainedCritic(
            run.name,
            run.settings.get("kind", "baseline"),
            run.results.get("labelled_triples"),
            from_json(Metrics, run.results).average_precision,
        )
        for run in session.scalars(query)
    ]


def _store_error(store: Store, error: str) -> None:
    with store.write() as session:
        session.execute(update(Retraining).values(error=error))


def _settings_from(kind: type[Settings], document: Mapping[str, Any]) -> Settings:
    return kind(**{field.name: document[field.name] for field in fields(kind)})


def _count_votes(session: Session, *, simulated: bool) -> int:
    return session.scalar(queries.standing_votes(func.count(), simulated=simulated)) or 0
