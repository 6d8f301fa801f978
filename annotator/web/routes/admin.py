"""The admin's routes: accounts, invitations, studies."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request

from annotator.accounts import accounts
from annotator.crowd import studies
from annotator.web.routes.labelling import Id
from annotator.web.security import current_user
from db.schema import Role
from db.store.session import Store


class InvitationIn(BaseModel):
    """What the new account may do, and for whom the link is."""

    role: Role
    note: str = Field(default="", max_length=400)


class AccountIn(BaseModel):
    """What an account may do, and whether it may be used."""

    role: Role
    active: bool


class StudyIn(BaseModel):
    """A batch for a crowd: triples for each worker, and what they get in the end."""

    name: str = Field(min_length=1, max_length=400)
    batch: str
    quota: int = Field(ge=1, lt=2**31)
    code: str = Field(default="", max_length=400)
    finish_url: str = Field(default="", max_length=2000)


class StudyOpenIn(BaseModel):
    """Whether workers are let in."""

    open: bool


def routes(store: Store) -> APIRouter:
    """The routes over a store."""
    router = APIRouter(prefix="/api/admin", tags=["admin"])

    @router.get("/people")
    def everybody() -> dict[str, Any]:
        """Accounts, invitations and studies."""
        with store.read() as session:
            return {
                "people": accounts.list_accounts(session),
                "invitations": accounts.list_invitations(session),
                "studies": studies.list_studies(session),
                "platforms": studies.PLATFORMS,
            }

    @router.patch("/people/{person_id}")
    def change(person_id: Id, body: AccountIn) -> dict[str, bool]:
        """Give an account a role, or close it."""
        with store.write() as session:
            accounts.update_account(session, person_id, **body.model_dump())
        return {"done": True}

    @router.post("/invitations")
    def invite(request: Request, body: InvitationIn) -> dict[str, str]:
        """A link by which one person makes an account; told once."""
        with store.write() as session:
            secret = accounts.create_invitation(
                session, body.role, current_user(request).id, body.note
            )
        return {"path": f"/invite/{secret}"}

    @router.post("/studies")
    def study(body: StudyIn) -> dict[str, Any]:
        """A study over a batch, and the link that workers come by."""
        with store.write() as session:
            made = studies.create_study(session, **body.model_dump())
            return {"id": made.id, "path": f"/join/{made.link}", "code": made.code}

    @router.patch("/studies/{study_id}")
    def set_open(study_id: Id, body: StudyOpenIn) -> dict[str, bool]:
        """Let workers in, or no longer."""
        with store.write() as session:
            studies.set_study_open(session, study_id, is_open=body.open)
        return {"done": True}

    return router
