"""Joining a study: a worker's id alone lets nobody in as that worker.

The first browser that joins gets a cookie that belongs to it, and another browser with the same id
is refused until a researcher releases the worker. Where links are signed, the signature is the
proof instead, from any browser. The number of workers is checked while the study is locked.
"""

import secrets
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from annotator.accounts import sessions
from annotator.accounts.digests import digest
from annotator.studies import platforms, studies
from annotator.studies.platforms import PlatformIds
from db.schema import Login, Person, Study, StudySession, Vote
from db.store import queries
from db.store.clock import now
from db.store.upsert import dialect_insert
from regions.errors import ConflictError, InvalidError, NotFoundError


class JoinResult(NamedTuple):
    """The token of the session's cookie, and the secret that the browser keeps."""

    token: str
    browser: str
    quota: int


@dataclass(frozen=True, slots=True)
class Completion:
    """What a worker gets after the quota: a code, and the URL to return to."""

    code: str
    url: str


def join_study(
    session: Session, link: str, ids: PlatformIds, *, signature: str = "", browser: str = ""
) -> JoinResult:
    """Sign a worker in to a study. `browser` is the secret of this browser, if it has one.

    A worker is one person across studies, and joining again changes nothing. ConflictError if the
    worker has joined from another browser, if all places are taken, or if they have not finished
    another open study of the same batch: a vote counts for one study.
    """
    study = studies.study_by_link(session, link, lock=True)
    if study.signing_secret is not None and not platforms.is_signed(
        study.signing_secret, ids, signature
    ):
        raise InvalidError(
            "this link has no valid signature", hint="use the link that you were given"
        )
    browser = browser or secrets.token_urlsafe(32)
    person = _worker(session, ids.worker)
    if not person.active:
        raise ConflictError("this worker's account is closed", where=ids.worker)
    own = studies.study_session(session, study.id, person.id)
    if study.signing_secret is None:
        _check_browser(session, study, person.id, browser)
    if own is None:
        _check_has_finished_others(session, study, person.id)
        _check_places(session, study)
        own = StudySession(
            study_id=study.id,
            person_id=person.id,
            platform_study=ids.study,
            platform_session=ids.session,
            created=now(),
        )
        session.add(own)
    own.browser_digest = digest(browser)
    return JoinResult(sessions.create_login(session, person.id, study.id), browser, study.quota)


def finish_study(session: Session, study_id: int, person_id: int) -> Completion | None:
    """Mark a worker's session of a study as finished; None if they have not joined it.

    From then on their votes are final, because the code is paid for.
    """
    study_session = studies.study_session(session, study_id, person_id)
    if study_session is None:
        return None
    if study_session.finished is None:
        study_session.finished = now()
    study = queries.by_id(session, Study, study_id)
    return Completion(study.code, study.finish_url)


def release_worker(session: Session, study: Study, worker: str) -> bool:
    """Let a worker join a study again from another browser, and sign them out of this one.

    Without a vote their place becomes free; returns whether it has. NotFoundError if they have not
    joined the study.
    """
    person = session.scalar(select(Person).where(Person.name == sessions.WORKER_PREFIX + worker))
    own = studies.study_session(session, study.id, person.id) if person is not None else None
    if own is None or person is None:
        raise NotFoundError(
            f"no worker {worker[:100]!r} has joined this study", hint="see `lskd study workers`"
        )
    session.execute(delete(Login).where(Login.study_id == study.id, Login.person_id == person.id))
    has_voted = select(Vote.id).where(Vote.person_id == person.id, Vote.batch_id == study.batch_id)
    if session.scalar(has_voted.limit(1)) is None:
        session.delete(own)
        return True
    for joined in _sessions_over(session, study.batch_id, person.id):
        joined.browser_digest = None
    return False


def _worker(session: Session, worker: str) -> Person:
    """The person of a worker's id, added if new; another request may add them at this moment."""
    name = sessions.WORKER_PREFIX + worker
    row = {"name": name, "role": "annotator", "simulated": False, "created": now()}
    session.execute(dialect_insert(session, Person).values(**row).on_conflict_do_nothing())
    return session.scalars(select(Person).where(Person.name == name).with_for_update()).one()


def _sessions_over(session: Session, batch_id: int, person_id: int) -> list[StudySession]:
    """A worker's sessions of all studies of a batch: each shows the same votes."""
    query = (
        select(StudySession)
        .join(Study, Study.id == StudySession.study_id)
        .where(Study.batch_id == batch_id, StudySession.person_id == person_id)
    )
    return list(session.scalars(query))


def _check_browser(session: Session, study: Study, person_id: int, browser: str) -> None:
    digests = {row.browser_digest for row in _sessions_over(session, study.batch_id, person_id)}
    if digests - {None, digest(browser)}:
        raise ConflictError(
            "this worker id has joined from another browser",
            hint="continue there, or ask the researcher of this study to release your id",
        )


def _check_places(session: Session, study: Study) -> None:
    if study.max_workers is not None and (
        studies.count_workers(session, study.id) >= study.max_workers
    ):
        raise ConflictError(
            "all places in this study are taken",
            hint="return the task to the platform, or ask the researcher of this study",
        )


def _check_has_finished_others(session: Session, study: Study, person_id: int) -> None:
    unfinished = session.scalar(
        select(Study.name)
        .join(StudySession, StudySession.study_id == Study.id)
        .where(
            Study.batch_id == study.batch_id,
            Study.open,
            StudySession.person_id == person_id,
            StudySession.finished.is_(None),
        )
    )
    if unfinished is not None:
        raise ConflictError(
            "you have not finished another study", hint=f"finish {unfinished} first"
        )
