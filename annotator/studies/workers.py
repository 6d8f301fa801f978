"""Attention and time of each worker of a study."""

from dataclasses import dataclass
from statistics import median

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.accounts import sessions
from annotator.crowd.rates import Rate
from db.schema import Batch, Decision, Gold, Pause, Person, Study, StudySession, Vote
from db.store import queries
from db.store.clock import now

_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker's session of a study. Shares are 0 to 1, None where they are undefined."""

    worker: str
    platform_study: str
    platform_session: str
    joined: int
    finished: int | None
    minutes: float
    """From the first visit until they finished, or until now."""
    votes: int
    skips: int
    gold: float | None
    """Accuracy on gold."""
    gold_correct: int
    gold_judged: int
    gold_interval: tuple[float, float]
    too_fast: float | None
    """Share of votes faster than the batch's `fast_ms`."""
    pace_ms: float | None
    """Median time per vote."""
    paused: str | None
    """Why the worker is paused."""
    bound: bool
    """Whether a browser is bound to the worker's id."""


@dataclass(frozen=True, slots=True)
class _Vote:
    decision: Decision
    duration_ms: int | None
    known: Decision | None


def list_workers(session: Session, study: Study) -> list[WorkerRow]:
    """A row for each worker who has joined the study, in the order in which they joined.

    Their votes are those on the study's batch between joining and finishing.
    """
    batch = queries.by_id(session, Batch, study.batch_id)
    pauses = {
        pause.person_id: pause.reason
        for pause in session.scalars(
            select(Pause).where(Pause.batch_id == batch.id, Pause.lifted.is_(None))
        )
    }
    joined = session.execute(
        select(StudySession, Person.name)
        .join(Person, Person.id == StudySession.person_id)
        .where(StudySession.study_id == study.id)
        .order_by(StudySession.id)
    ).all()
    votes = _votes_by_person(session, study)
    return [
        _row(own, name, votes.get(own.person_id, []), batch.fast_ms, pauses.get(own.person_id))
        for own, name in joined
    ]


def _votes_by_person(session: Session, study: Study) -> dict[int, list[_Vote]]:
    query = (
        select(Vote.person_id, Vote.decision, Vote.duration_ms, Gold.decision)
        .join(
            StudySession,
            (StudySession.person_id == Vote.person_id) & (StudySession.study_id == study.id),
        )
        .outerjoin(Gold, Gold.triple_id == Vote.triple_id)
        .where(
            Vote.batch_id == study.batch_id,
            Vote.withdrawn.is_(None),
            Vote.created >= StudySession.created,
            StudySession.finished.is_(None) | (Vote.created <= StudySession.finished),
        )
    )
    votes: dict[int, list[_Vote]] = {}
    for person, decision, duration_ms, known in session.execute(query):
        votes.setdefault(person, []).append(_Vote(decision, duration_ms, known))
    return votes


def _row(
    own: StudySession, name: str, votes: list[_Vote], fast_ms: int, paused: str | None
) -> WorkerRow:
    judged = [vote for vote in votes if vote.decision != "skip"]
    known = [vote for vote in judged if vote.known is not None]
    durations = [vote.duration_ms for vote in judged if vote.duration_ms is not None]
    accuracy = Rate.of(sum(vote.decision == vote.known for vote in known), len(known))
    n_fast = sum(duration < fast_ms for duration in durations)
    return WorkerRow(
        worker=name.removeprefix(sessions.WORKER_PREFIX),
        platform_study=own.platform_study,
        platform_session=own.platform_session,
        joined=own.created,
        finished=own.finished,
        minutes=((own.finished or now()) - own.created) / _MINUTE_MS,
        votes=len(judged),
        skips=len(votes) - len(judged),
        gold=accuracy.value,
        gold_correct=accuracy.correct,
        gold_judged=accuracy.judged,
        gold_interval=accuracy.interval,
        too_fast=n_fast / len(durations) if durations else None,
        pace_ms=median(durations) if durations else None,
        paused=paused,
        bound=own.browser_digest is not None,
    )
