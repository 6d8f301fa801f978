"""Routes of the signed-in person: history, corrections, flags, guidelines, preferences."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from annotator import languages
from annotator.accounts import preferences, sessions
from annotator.accounts.preferences import Preferences
from annotator.crowd import flags, guidelines
from annotator.crowd.guidelines import Guidelines
from annotator.labelling import history
from annotator.labelling.history import HistoryRow
from annotator.web.dependencies import QueueDep, StoreDep, UserDep, lease_holder
from annotator.web.routes.schemas import DecisionIn, Done, Id, Key, Saved
from db.schema import Role

router = APIRouter(tags=["labelling"])


class CorrectionIn(DecisionIn):
    """A decision that replaces the person's vote with the key `replaces`."""

    replaces: Key


class FlagIn(BaseModel):
    """A triple that a researcher should look at, and why."""

    triple: Id
    note: str


class PreferencesIn(BaseModel):
    """The language (null: the browser's) and the key of each action."""

    language: str | None = None
    keys: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class MeOut:
    """The signed-in person. `batch` is the only one that a crowd worker may label."""

    name: str
    role: Role
    batch: str | None
    preferences: Preferences
    languages: Mapping[str, str]


@router.get("/api/history")
def get_history(
    store: StoreDep,
    user: UserDep,
    batch: str,
    before: Annotated[int | None, Query(ge=0, lt=2**31)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> list[HistoryRow]:
    """A page of the person's own votes, newest first."""
    with store.read() as session:
        return history.vote_history(session, user.id, batch, before=before, limit=limit)


@router.post("/api/corrections")
def correct_vote(user: UserDep, labelling: QueueDep, body: CorrectionIn) -> Saved:
    """Replace one of the person's own votes, which is kept as withdrawn."""
    labelling.correct(lease_holder(user), body.replaces, body.vote())
    return Saved()


@router.post("/api/flags")
def add_flag(store: StoreDep, user: UserDep, body: FlagIn) -> Saved:
    """Ask a researcher to look at a triple."""
    with store.write() as session:
        flags.add_flag(session, user.id, body.triple, body.note)
    return Saved()


@router.get("/api/guidelines")
def get_guidelines(store: StoreDep) -> Guidelines:
    """The newest version of the guidelines, as Markdown and as safe HTML."""
    with store.read() as session:
        return guidelines.current_guidelines(session)


@router.get("/api/me")
def get_me(store: StoreDep, user: UserDep) -> MeOut:
    """The signed-in person and their preferences."""
    with store.read() as session:
        chosen = preferences.get_preferences(session, user.id)
    return MeOut(user.name, user.role, user.batch, chosen, languages.NAMES)


@router.get("/api/words/{language}")
def get_translations(language: str) -> dict[str, str]:
    """The pages' texts in a language, by the English text."""
    return languages.translations(language)


@router.put("/api/me/preferences")
def set_preferences(store: StoreDep, user: UserDep, body: PreferencesIn) -> Preferences:
    """Set the person's language and keys."""
    with store.write() as session:
        return preferences.set_preferences(session, user.id, language=body.language, keys=body.keys)


@router.post("/api/me/sign-out-everywhere")
def sign_out_everywhere(store: StoreDep, user: UserDep) -> Done:
    """End every session of the person, and revoke their API tokens."""
    with store.write() as session:
        sessions.sign_out_everywhere(session, user.id)
    return Done()
