"""Studies: crowd workers arrive by a link, label up to a quota, and get a completion code."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.accounts import sessions
from db.schema import Batch, Person, Study, StudySession
from db.store import queries
from db.store.clock import now
from regions.errors import ConflictError, InvalidError, NotFoundError


class PlatformParameters(NamedTuple):
    """The names of a platform's URL parameters for its worker, study and session ids."""

    worker: str
    study: str
    session: str


PLATFORMS: dict[str, PlatformParameters] = {
    "Prolific": PlatformParameters("PROLIFIC_PID", "STUDY_ID", "SESSION_ID"),
    "Mechanical Turk": PlatformParameters("workerId", "hitId", "assignmentId"),
    "Other": PlatformParameters("worker", "study", "session"),
}

_ID = re.compile(r"[A-Za-z0-9_.@:-]{1,100}")
_MTURK_PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE"


@dataclass(frozen=True, slots=True)
class PlatformIds:
    """The platform's ids of a worker, their study and their session."""

    worker: str
    study: str
    session: str


@dataclass(frozen=True, slots=True)
class Completion:
    """What a worker gets after the quota: a code, and the URL to return to."""

    code: str
    url: str


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study with how many workers came and how many finished."""

    id: int
    name: str
    quota: int
    link: str
    code: str
    finish_url: str
    open: bool
    batch: str
    came: int
    finished: int


def create_study(
    session: Session, name: str, batch: str, *, quota: int, code: str = "", finish_url: str = ""
) -> Study:
    """Create a study over a batch. Its link is secret: whoever has it can label."""
    if not name.strip():
        raise InvalidError("a study needs a name", hint="such as pilot-prolific")
    queries.check_unused(session, Study, name)
    if quota < 1:
        raise InvalidError(f"the quota must be at least 1 (got {quota})", where=name)
    if finish_url and not finish_url.startswith("https://"):
        raise InvalidError("the return URL must start with https://", where=name)
    study = Study(
        name=name.strip(),
        batch_id=queries.by_name(session, Batch, batch).id,
        quota=quota,
        link=secrets.token_urlsafe(18),
        code=code.strip() or secrets.token_hex(4).upper(),
        finish_url=finish_url,
        created=now(),
    )
    session.add(study)
    session.flush()
    return study


def parse_platform_ids(parameters: Mapping[str, str]) -> PlatformIds:
    """The ids in a link's URL parameters; InvalidError if the worker's is missing or malformed."""
    for names in PLATFORMS.values():
        if names.worker not in parameters:
            continue
        ids = PlatformIds(
            parameters[names.worker],
            parameters.get(names.study, ""),
            parameters.get(names.session, ""),
        )
        if ids.session == _MTURK_PREVIEW:
            raise InvalidError("this is a preview", hint="accept the task first")
        given = (ids.worker, *filter(None, (ids.study, ids.session)))
        if not all(_ID.fullmatch(value) for value in given):
            raise InvalidError("the ids in this link are not valid", hint="use the platform's link")
        return ids
    raise InvalidError(
        "this link has no worker id",
        hint="add ?PROLIFIC_PID={{%PROLIFIC_PID%}} or your platform's parameters",
    )


def study_by_link(session: Session, link: str) -> Study:
    """The open study of a link; NotFoundError if there is none."""
    study = session.scalar(select(Study).where(Study.link == link))
    if study is None or not study.open:
        raise NotFoundError("this study is closed or does not exist", hint="check the link")
    return study


def join_study(session: Session, link: str, ids: PlatformIds) -> str:
    """Sign a worker in to a study; returns the cookie's token.

    A worker is one person across studies, and joining again changes nothing. ConflictError if they
    have not finished another open study of the same batch: a vote counts for one study.
    """
    study = study_by_link(session, link)
    name = sessions.WORKER_PREFIX + ids.worker
    person = session.scalar(select(Person).where(Person.name == name))
    if person is None:
        person = Person(name=name, role="annotator", created=now())
        session.add(person)
        session.flush()
    if not person.active:
        raise ConflictError("this worker's account is closed", where=ids.worker)
    if _study_session(session, study.id, person.id) is None:
        _check_has_finished_others(session, study, person.id)
        session.add(
            StudySession(
                study_id=study.id,
                person_id=person.id,
                platform_study=ids.study,
                platform_session=ids.session,
                created=now(),
            )
        )
    return sessions.create_login(session, person.id, study.id)


def finish_study(session: Session, study_id: int, person_id: int) -> Completion | None:
    """Mark a worker's session of a study as finished; None if they have not joined it.

    From then on their votes are final, because the code is paid for.
    """
    study_session = _study_session(session, study_id, person_id)
    if study_session is None:
        return None
    if study_session.finished is None:
        study_session.finished = now()
    study = queries.by_id(session, Study, study_id)
    return Completion(study.code, study.finish_url)


def list_studies(session: Session) -> list[StudyRow]:
    """Every study, newest first."""
    counts = (
        select(
            StudySession.study_id,
            func.count().label("came"),
            func.count(StudySession.finished).label("finished"),
        )
        .group_by(StudySession.study_id)
        .subquery()
    )
    query = (
        select(Study, Batch.name, counts.c.came, counts.c.finished)
        .join(Batch, Batch.id == Study.batch_id)
        .outerjoin(counts, counts.c.study_id == Study.id)
        .order_by(Study.id.desc())
    )
    return [
        StudyRow(
            study.id,
            study.name,
            study.quota,
            study.link,
            study.code,
            study.finish_url,
            study.open,
            batch,
            came or 0,
            finished or 0,
        )
        for study, batch, came, finished in session.execute(query)
    ]


def set_study_open(session: Session, study_id: int, *, is_open: bool) -> None:
    """Open a study to workers, or close it."""
    queries.by_id(session, Study, study_id).open = is_open


def _study_session(session: Session, study_id: int, person_id: int) -> StudySession | None:
    return session.scalar(
        select(StudySession).where(
            StudySession.study_id == study_id, StudySession.person_id == person_id
        )
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
