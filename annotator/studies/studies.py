"""Studies: crowd workers arrive by a link, label up to a quota, and get a completion code."""

import math
import secrets
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.schema import Batch, BatchItem, Study, StudySession
from db.store import queries
from db.store.clock import now
from regions.errors import ConflictError, InvalidError, NotFoundError

_SPARE_PLACES = 2
"""By default so many times the workers that a batch needs can join: some leave early."""


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study with how many workers came and how many finished."""

    id: int
    name: str
    quota: int
    max_workers: int | None
    """None: any number."""
    signed: bool
    """Whether links need a signature."""
    link: str
    code: str
    finish_url: str
    open: bool
    batch: str
    came: int
    finished: int


def create_study(
    session: Session,
    name: str,
    batch: str,
    *,
    quota: int,
    max_workers: int | None = None,
    signed: bool = False,
    code: str = "",
    finish_url: str = "",
) -> Study:
    """Create a study over a batch. Its link is secret: whoever has it can label.

    `max_workers` is twice as many as the missing votes of the batch need, if it is None. With
    `signed`, each worker's link needs a signature; see `annotator.studies.platforms.sign`.
    """
    if not name.strip():
        raise InvalidError("a study needs a name", hint="such as pilot-prolific")
    queries.check_unused(session, Study, name)
    if quota < 1:
        raise InvalidError(f"the quota must be at least 1 (got {quota})", where=name)
    _check_max_workers(max_workers, name)
    if finish_url and not finish_url.startswith("https://"):
        raise InvalidError("the return URL must start with https://", where=name)
    labelled = queries.by_name(session, Batch, batch)
    if max_workers is None:
        max_workers = _SPARE_PLACES * _needed_workers(session, labelled, quota)
    study = Study(
        name=name.strip(),
        batch_id=labelled.id,
        quota=quota,
        max_workers=max_workers,
        signing_secret=secrets.token_hex(32) if signed else None,
        link=secrets.token_urlsafe(18),
        code=code.strip() or secrets.token_hex(4).upper(),
        finish_url=finish_url,
        created=now(),
    )
    session.add(study)
    session.flush()
    return study


def study_by_link(session: Session, link: str, *, lock: bool = False) -> Study:
    """The open study of a link; NotFoundError if there is none.

    With `lock`, other transactions wait for this one before they lock the study.
    """
    query = select(Study).where(Study.link == link)
    study = session.scalar(query.with_for_update() if lock else query)
    if study is None or not study.open:
        raise NotFoundError("this study is closed or does not exist", hint="check the link")
    return study


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
            id=study.id,
            name=study.name,
            quota=study.quota,
            max_workers=study.max_workers,
            signed=study.signing_secret is not None,
            link=study.link,
            code=study.code,
            finish_url=study.finish_url,
            open=study.open,
            batch=batch,
            came=came or 0,
            finished=finished or 0,
        )
        for study, batch, came, finished in session.execute(query)
    ]


def update_study(
    session: Session,
    study_id: int,
    *,
    is_open: bool | None = None,
    max_workers: int | None = None,
    signed: bool | None = None,
) -> Study:
    """Change what is not None: whether it is open, how many workers can join, signed links.

    ConflictError if more workers have joined than `max_workers`. A study that needs signatures
    again gets a new secret: links signed before are no longer valid.
    """
    study = session.scalar(select(Study).where(Study.id == study_id).with_for_update())
    if study is None:
        raise NotFoundError("no such study", where=str(study_id))
    if max_workers is not None:
        _check_max_workers(max_workers, study.name)
        joined = count_workers(session, study_id)
        if joined > max_workers:
            raise ConflictError(
                f"{joined} workers have joined", where=study.name, hint=f"set {joined} or more"
            )
        study.max_workers = max_workers
    if is_open is not None:
        study.open = is_open
    if signed is not None and signed != (study.signing_secret is not None):
        study.signing_secret = secrets.token_hex(32) if signed else None
    return study


def signing_secret(study: Study) -> str:
    """The key that signs a study's links; ConflictError if they need no signature."""
    if study.signing_secret is None:
        raise ConflictError(
            "the links of this study need no signature",
            where=study.name,
            hint="require one with `lskd study update --signed`",
        )
    return study.signing_secret


def count_workers(session: Session, study_id: int) -> int:
    """How many workers have joined a study."""
    return session.scalar(select(func.count()).where(StudySession.study_id == study_id)) or 0


def study_session(session: Session, study_id: int, person_id: int) -> StudySession | None:
    """A worker's session of a study, if they have joined it."""
    return session.scalar(
        select(StudySession).where(
            StudySession.study_id == study_id, StudySession.person_id == person_id
        )
    )


def _check_max_workers(max_workers: int | None, name: str) -> None:
    if max_workers is not None and max_workers < 1:
        raise InvalidError(
            f"the number of workers must be at least 1 (got {max_workers})", where=name
        )


def _needed_workers(session: Session, batch: Batch, quota: int) -> int:
    """The least number of workers who can give the votes that a batch still needs."""
    missing = session.scalar(
        select(func.sum(BatchItem.votes_required - BatchItem.slots_used)).where(
            BatchItem.batch_id == batch.id
        )
    )
    return max(batch.votes_required, math.ceil((missing or 0) / quota))
