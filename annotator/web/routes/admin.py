"""Routes for admins: accounts and invitations."""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter
from pydantic import BaseModel, Field

from annotator.accounts import accounts, password_changes, sessions
from annotator.accounts.accounts import AccountRow, InvitationRow
from annotator.studies import studies
from annotator.studies.platforms import PLATFORMS, PlatformParameters
from annotator.studies.studies import StudyRow
from annotator.web.dependencies import StoreDep, UserDep
from annotator.web.routes.schemas import Done, Id
from db.schema import Person, Role
from db.store import queries

router = APIRouter(prefix="/api/admin", tags=["admin"])


class InvitationIn(BaseModel):
    """The role of the new account, and a note about its recipient."""

    role: Role
    note: str = Field(default="", max_length=400)


class AccountIn(BaseModel):
    """The role of an account, and whether it is open."""

    role: Role
    active: bool


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
class ResetOut:
    """The path of a link to choose a new password; it is not shown again."""

    path: str


@router.get("/people")
def list_people(store: StoreDep) -> PeopleOut:
    """Accounts, invitations and studies."""
    with store.read() as session:
        return PeopleOut(
            people=accounts.list_accounts(session),
            invitations=accounts.list_invitations(session),
            studies=studies.list_studies(session),
            platforms=PLATFORMS,
        )


@router.patch("/people/{person_id}")
def update_account(store: StoreDep, person_id: Id, body: AccountIn) -> Done:
    """Change an account's role, close it, or open it again."""
    with store.write() as session:
        accounts.update_account(session, person_id, role=body.role, active=body.active)
    return Done()


@router.post("/people/{person_id}/password-reset")
def create_password_reset(store: StoreDep, person_id: Id) -> ResetOut:
    """Create a link by which the owner of an account chooses a new password, once."""
    with store.write() as session:
        return ResetOut(f"/reset/{password_changes.create_reset(session, person_id)}")


@router.post("/people/{person_id}/sign-out-everywhere")
def sign_out_everywhere(store: StoreDep, person_id: Id) -> Done:
    """End every session of a person, and revoke their API tokens and links."""
    with store.write() as session:
        queries.by_id(session, Person, person_id)
        sessions.sign_out_everywhere(session, person_id)
    return Done()


@router.post("/invitations")
def create_invitation(store: StoreDep, user: UserDep, body: InvitationIn) -> InvitationOut:
    """Create a link by which one person makes an account."""
    with store.write() as session:
        secret = accounts.create_invitation(session, body.role, user.id, body.note)
    return InvitationOut(f"/invite/{secret}")
