"""Studies: a crowd's workers come by a link, label up to a quota, and get a completion code.

Platforms name ids differently; `PLATFORMS` is the whole of what we need to know of them.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.accounts import sessions
from annotator.crowd.progress import get_batch
from db.schema import Batch, Person, Study, StudySession
from db.store.clock import now
from regions.errors import ConflictError, InvalidError, NotFoundError

PLATFORMS: dict[str, tuple[str, str, str]] = {
    "Prolific": ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID"),
    "Mechanical Turk": ("workerId", "hitId", "assignmentId"),
    "any other": ("worker", "study", "session"),
}
"""What the address calls worker, study and session."""

_ID = re.compile(r"[A-Za-z0-9_.@:-]{1,100}")
_PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE"


@dataclass(frozen=True, slots=True)
class PlatformIds:
    """Who came by a link: ids of the platform's own."""

    worker: str
    study: str
    session: str


@dataclass(frozen=True, slots=True)
class Completion:
    """What a worker gets who has done the quota."""

    code: str
    url: str


def create_study(
    session: Session, name: str, batch: str, *, quota: int, code: str = "", finish_url: str = ""
) -> Study:
    """A study over a batch; its link is a secret, since whoever has it can label."""
    if not name.strip():
        raise InvalidError("a study needs a name", hint="such as pilot-prolific")
    if session.scalar(select(Study.id).where(Study.name == name)) is not None:
        raise ConflictError(f"a study named {name!r} is there already", hint="choose another name")
    if quota < 1:
        raise InvalidError(f"a quota of {quota} is no work", where=name, hint="use 1 or more")
    if finish_url and not finish_url.startswith("https://"):
        raise InvalidError("the address to finish at is no https:// one", where=name)
    study = Study(
        name=name.strip(),
        batch_id=get_batch(session, batch).id,
        quota=quota,
        link=secrets.token_urlsafe(18),
        code=code.strip() or secrets.token_hex(4).upper(),
        finish_url=finish_url,
        created=now(),
    )
    session.add(study)
    session.flush()
    return study


def parse_arrival(address: Mapping[str, str]) -> PlatformIds:
    """The ids in a link's address; UserError where there is no worker's."""
    for worker, study, session in PLATFORMS.values():
        if worker in address:
            found = PlatformIds(address[worker], address.get(study, ""), address.get(session, ""))
            if found.session == _PREVIEW:
                raise InvalidError("this is a preview", hint="accept the task first")
            if not all(
                _ID.fullmatch(part)
                for part in (found.worker, *filter(None, (found.study, found.session)))
            ):
                raise InvalidError(
                    "the ids in the address are none", hint="use the platform's link"
                )
            return found
    raise InvalidError(
        "the address names no worker",
        hint="add ?PROLIFIC_PID={{%PROLIFIC_PID%}} or what your platform has",
    )


def study_by_link(session: Session, link: str) -> Study:
    """The open study behind a link; UserError where there is none."""
    study = session.scalar(select(Study).where(Study.link == link))
    if study is None or not study.open:
        raise NotFoundError("this study is closed, or never was", hint="check the link")
    return study


def join_study(session: Session, link: str, ids: PlatformIds) -> str:
    """A cookie for a worker, who is the same person in every study; coming back changes nothing."""
    study = study_by_link(session, link)
    name = sessions.WORKER_PREFIX + ids.worker
    person = session.scalar(select(Person).where(Person.name == name))
    if person is None:
        person = Person(name=name, role="annotator", created=now())
        session.add(person)
        session.flush()
    if not person.active:
        raise ConflictError("this worker's account is closed", where=ids.worker)
    if _part(session, study.id, person.id) is None:
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


def finish_study(session: Session, person_id: int, batch: str) -> Completion | None:
    """The completion code of a worker who has judged as many as the quota asks."""
    query = (
        select(Study, StudySession)
        .join(StudySession, StudySession.study_id == Study.id)
        .join(Batch, Batch.id == Study.batch_id)
        .where(Batch.name == batch, StudySession.person_id == person_id)
        .order_by(Study.id.desc())
    )
    found = session.execute(query).first()
    if found is None:
        return None
    study, part = found
    if part.finished is None:
        part.finished = now()
    return Completion(study.code, study.finish_url)


def list_studies(session: Session) -> list[dict[str, Any]]:
    """Every study, the newest first, with how many came and how many finished."""
    parts = (
        select(
            StudySession.study_id,
            func.count().label("came"),
            func.count(StudySession.finished).label("finished"),
        )
        .group_by(StudySession.study_id)
        .subquery()
    )
    query = (
        select(Study, Batch.name, parts.c.came, parts.c.finished)
        .join(Batch, Batch.id == Study.batch_id)
        .outerjoin(parts, parts.c.study_id == Study.id)
        .order_by(Study.id.desc())
    )
    fields = ("id", "name", "quota", "link", "code", "finish_url", "open")
    return [
        {f: getattr(study, f) for f in fields}
        | {"batch": batch, "came": came or 0, "finished": done or 0}
        for study, batch, came, done in session.execute(query)
    ]


def set_study_open(session: Session, study_id: int, *, is_open: bool) -> None:
    """Let workers in, or no longer."""
    study = session.get(Study, study_id)
    if study is None:
        raise NotFoundError("no such study", where=str(study_id))
    study.open = is_open


def _part(session: Session, study_id: int, person_id: int) -> StudySession | None:
    return session.scalar(
        select(StudySession).where(
            StudySession.study_id == study_id, StudySession.person_id == person_id
        )
    )
