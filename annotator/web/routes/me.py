"""What a person looks up, corrects and sets for themselves."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.requests import Request

from annotator import languages
from annotator.accounts import preferences, sessions
from annotator.crowd import feedback, guidelines, queue
from annotator.crowd.leases import LeaseHolder
from annotator.web.routes.labelling import Id, JudgementIn, Key
from annotator.web.security import current_user
from db.store.session import Store


class CorrectionIn(JudgementIn):
    """Another judgement in the place of the vote `replaces`, a key."""

    replaces: Key


class FlagIn(BaseModel):
    """A triple that somebody should look at, and why."""

    triple: Id
    note: str


class PreferencesIn(BaseModel):
    """Language (null: as the browser has it) and keys, by action."""

    language: str | None = None
    keys: dict[str, str] = {}


def routes(store: Store) -> APIRouter:
    """The routes over a store."""
    router = APIRouter(tags=["labelling"])
    triples = queue.Queue(store)

    @router.get("/api/history")
    def history(
        request: Request,
        batch: str,
        before: Annotated[int | None, Query(ge=0, lt=2**31)] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> list[dict[str, Any]]:
        """One's own votes, the newest first, a page at a time."""
        with store.read() as session:
            return feedback.vote_history(
                session, current_user(request).id, batch, before=before, limit=limit
            )

    @router.post("/api/corrections")
    def correct(request: Request, body: CorrectionIn) -> dict[str, bool]:
        """Put another judgement in the place of one's own; the old one stays as withdrawn."""
        triples.correct(LeaseHolder(current_user(request).id), body.replaces, body.judgement())
        return {"saved": True}

    @router.post("/api/flags")
    def flag(request: Request, body: FlagIn) -> dict[str, bool]:
        """Ask a researcher to look at a triple."""
        with store.write() as session:
            feedback.add_flag(session, current_user(request).id, body.triple, body.note)
        return {"saved": True}

    @router.get("/api/guidelines")
    def guideline() -> dict[str, Any]:
        """What annotators are told: the newest version, as text and as safe HTML."""
        with store.read() as session:
            return guidelines.current_guidelines(session)

    @router.get("/api/me")
    def me(request: Request) -> dict[str, Any]:
        """Who is asking, and what they chose."""
        person = current_user(request)
        with store.read() as session:
            chosen = preferences.get_preferences(session, person.id)
        who = {"name": person.name, "role": person.role, "batch": person.batch}
        return who | {"preferences": chosen, "languages": languages.NAMES}

    @router.get("/api/words/{language}")
    def words(language: str) -> dict[str, str]:
        """What a language says for each English sentence of the pages."""
        return languages.translations(language)

    @router.put("/api/me/preferences")
    def prefer(request: Request, body: PreferencesIn) -> dict[str, Any]:
        """Choose language and keys."""
        with store.write() as session:
            return preferences.set_preferences(
                session, current_user(request).id, **body.model_dump()
            )

    @router.post("/api/me/sign-out-everywhere")
    def sign_out_everywhere(request: Request) -> dict[str, bool]:
        """Make every cookie of this person worthless."""
        with store.write() as session:
            sessions.sign_out_everywhere(session, current_user(request).id)
        return {"done": True}

    return router
