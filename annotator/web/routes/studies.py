"""Routes for admins about crowd studies: create, change, workers, review files."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from annotator.studies import joining, payments, studies, workers
from annotator.studies.payments import Platform
from annotator.studies.settings import ReviewRules
from annotator.studies.workers import WorkerRow
from annotator.web.dependencies import StoreDep
from annotator.web.routes.schemas import Done, Id
from db.schema import Study
from db.store import queries
from regions.errors import NotFoundError

router = APIRouter(prefix="/api/admin/studies", tags=["admin"])

Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0, lt=1e9)]


class StudyIn(BaseModel):
    """A study: `quota` triples of a batch per worker; `finish_url` is where workers return to."""

    name: str = Field(min_length=1, max_length=400)
    batch: str
    quota: int = Field(ge=1, lt=2**31)
    max_workers: int | None = Field(default=None, ge=1, lt=2**31)
    signed: bool = False
    code: str = Field(default="", max_length=400)
    finish_url: str = Field(default="", max_length=2000)


class StudyChangeIn(BaseModel):
    """What to change of a study: whether workers can join, how many, and signed links."""

    open: bool | None = None
    max_workers: int | None = Field(default=None, ge=1, lt=2**31)
    signed: bool | None = None


class ReleaseIn(BaseModel):
    """The platform's id of a worker."""

    worker: str = Field(min_length=1, max_length=100)


class ReviewRulesIn(BaseModel):
    """Who is approved, who is rejected, and the bonus; see `annotator.studies.payments`."""

    min_gold_accuracy: Share = 0.0
    min_gold_judged: int = Field(default=5, ge=0, lt=2**31)
    max_too_fast: Share = 1.0
    reject_unfinished: bool = False
    bonus: Amount = 0.0
    bonus_per_vote: Amount = 0.0
    bonus_gold_accuracy: Share = 0.0


@dataclass(frozen=True, slots=True)
class StudyOut:
    """A new study, the path of its link, and its completion code."""

    id: int
    path: str
    code: str


@dataclass(frozen=True, slots=True)
class ReleaseOut:
    """Whether the worker's place is free again, because they had no vote."""

    place_freed: bool


@dataclass(frozen=True, slots=True)
class StudySecretOut:
    """The key that signs a study's links."""

    secret: str


@router.post("")
def create_study(store: StoreDep, body: StudyIn) -> StudyOut:
    """Create a study over a batch, with a link for its workers."""
    with store.write() as session:
        study = studies.create_study(session, **body.model_dump())
        return StudyOut(study.id, f"/join/{study.link}", study.code)


@router.patch("/{study_id}")
def update_study(store: StoreDep, study_id: Id, body: StudyChangeIn) -> Done:
    """Open or close a study, change its places, or require signed links."""
    with store.write() as session:
        studies.update_study(
            session,
            study_id,
            is_open=body.open,
            max_workers=body.max_workers,
            signed=body.signed,
        )
    return Done()


@router.get("/{study_id}/secret")
def get_secret(store: StoreDep, study_id: Id) -> StudySecretOut:
    """The key that signs the study's links."""
    with store.read() as session:
        study = queries.by_id(session, Study, study_id)
        return StudySecretOut(studies.signing_secret(study))


@router.get("/{study_id}/workers")
def list_workers(store: StoreDep, study_id: Id) -> list[WorkerRow]:
    """Attention and time of each worker of a study."""
    with store.read() as session:
        return workers.list_workers(session, queries.by_id(session, Study, study_id))


@router.post("/{study_id}/release")
def release_worker(store: StoreDep, study_id: Id, body: ReleaseIn) -> ReleaseOut:
    """Let a worker continue in another browser; without a vote their place becomes free."""
    with store.write() as session:
        study = queries.by_id(session, Study, study_id)
        return ReleaseOut(joining.release_worker(session, study, body.worker))


@router.get("/{study_id}/review/{platform}/{file}")
def get_review_file(
    store: StoreDep,
    study_id: Id,
    platform: Platform,
    file: str,
    rules: Annotated[ReviewRulesIn, Query()],
) -> Response:
    """A file that the platform reads: whom to approve, reject and pay a bonus."""
    with store.read() as session:
        rows = workers.list_workers(session, queries.by_id(session, Study, study_id))
    files = payments.files_of(platform, payments.review(rows, ReviewRules(**rules.model_dump())))
    if file not in files:
        raise NotFoundError(f"no file named {file[:100]!r}", hint=f"use {', '.join(files)}")
    disposition = f'attachment; filename="{file}"'
    return Response(
        files[file], media_type="text/csv", headers={"content-disposition": disposition}
    )
