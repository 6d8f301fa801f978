"""Routes for admins: accounts, invitations, studies."""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter
from pydantic import BaseModel, Field

from annotator.accounts import accounts
from annotator.accounts.accounts import AccountRow, InvitationRow
from annotator.crowd import studies
from annotator.crowd.studies import PlatformParameters, StudyRow
from annotator.web.dependencies import StoreDep, UserDep
from annotator.web.routes.schemas import Done, Id
from db.schema import Role

router = APIRouter(prefix="/api/admin", tags=["admin"])


class InvitationIn(BaseModel):
    """The role of the new account, and a note about its recipient."""

    role: Role
    note: str = Field(default="", max_length=400)


class AccountIn(BaseModel):
    """The role of an account, and whether it is open."""

    role: Role
    active: bool


class StudyIn(BaseModel):
    """A study: `quota` triples of a batch per worker; `finish_url` is where workers return to."""

    name: str = Field(min_length=1, max_length=400)
    batch: str
    quota: int = Field(ge=1, lt=2**31)
    code: str = Field(default="", max_length=400)
    finish_url: str = Field(default="", max_length=2000)


class StudyOpenIn(BaseModel):
    """Whether workers can join."""

    open: bool


@dataclass(frozen=True, slots=True)
class PeopleOut:
    """Accounts, invitations and studies; `platforms` names the URL parameters of each platform."""

    people: list[AccountRow]
    invitations: list[InvitationRow]
    studies: list[StudyRow]
    platforms: Mapping[str, PlatformParameters]


@dataclass(frozen=True, slots=True)
class InvitationOut:
    """The path of an invitation's link; it is not shown again."""

    path: str


@dataclass(frozen=True, slots=True)
class StudyOut:
    """A new study, the path of its link, and its completion code."""

    id: int
    path: str
    code: str


@router.get("/people")
def list_people(store: StoreDep) -> PeopleOut:
    """Accounts, invitations and studies."""
    with store.read() as session:
        return PeopleOut(
            people=accounts.list_accounts(session),
            invitations=accounts.list_invitations(session),
            studies=studies.list_studies(session),
            platforms=studies.PLATFORMS,
        )


@router.patch("/people/{person_id}")
def update_account(store: StoreDep, person_id: Id, body: AccountIn) -> Done:
    """Change an account's role, close it, or open it again."""
    with store.write() as session:
        accounts.update_account(session, person_id, role=body.role, active=body.active)
    return Done()


@router.post("/invitations")
def create_invitation(store: StoreDep, user: UserDep, body: InvitationIn) -> InvitationOut:
    """Create a link by which one person makes an account."""
    with store.write() as session:
        secret = accounts.create_invitation(session, body.role, user.id, body.note)
    return InvitationOut(f"/invite/{secret}")


@router.post("/studies")
def create_study(store: StoreDep, body: StudyIn) -> StudyOut:
    """Create a study over a batch, with a link for its workers."""
    with store.write() as session:
        study = studies.create_study(session, **body.model_dump())
        return StudyOut(study.id, f"/join/{study.link}", study.code)


@router.patch("/studies/{study_id}")
def set_study_open(store: StoreDep, study_id: Id, body: StudyOpenIn) -> Done:
    """Open a study to workers, or close it."""
    with store.write() as session:
        studies.set_study_open(session, study_id, is_open=body.open)
    return Done()
