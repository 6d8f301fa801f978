"""The researcher's routes: progress, adjudication, guidelines, gold, pauses."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AliasChoices, BaseModel, Field
from starlette.requests import Request

from annotator.crowd import gold as quality
from annotator.crowd import guidelines
from annotator.labels import adjudication, statistics
from annotator.web.routes.labelling import Id
from annotator.web.security import current_user
from db.schema import Decision, Reason
from db.store.session import Store


class LastWordIn(BaseModel):
    """A decision about a triple that people disagree on."""

    triple: Id
    decision: Decision
    reasons: list[Reason] = []
    note: str = ""


class GuidelinesIn(BaseModel):
    """The next version, in Markdown."""

    text: str


class GoldIn(BaseModel):
    """What is right of a triple, and why; training items are for the qualification round."""

    triple: Id
    decision: Decision
    reasons: list[Reason] = []
    note: str = ""
    is_training_item: bool = Field(
        default=False, validation_alias=AliasChoices("is_training_item", "teaches")
    )


class PauseIn(BaseModel):
    """Stop a person in a batch; the reason is shown to them."""

    person: Id
    batch: str
    reason: str = Field(min_length=1, max_length=2000)


def routes(store: Store) -> APIRouter:
    """The routes over a store."""
    router = APIRouter(prefix="/api/research", tags=["research"])

    @router.get("/project")
    def overview(batch: str | None = None, *, simulated: bool = False) -> dict[str, Any]:
        """Progress, pace, agreement and annotators, of one batch or of all."""
        with store.read() as session:
            found = statistics.project_statistics(session, batch, simulated=simulated)
            return found | {
                "batches": statistics.list_batches(session),
                "pauses": quality.list_pauses(session),
            }

    @router.get("/adjudication")
    def waiting(
        limit: Annotated[int, Query(ge=1, le=100)] = 20, *, simulated: bool = False
    ) -> dict[str, Any]:
        """Triples that people disagree on or flagged, without names."""
        with store.read() as session:
            return adjudication.list_pending(session, simulated=simulated, limit=limit)

    @router.post("/adjudication")
    def decide(request: Request, body: LastWordIn) -> dict[str, Any]:
        """The last word on a triple; the names of those who voted come back."""
        with store.write() as session:
            return adjudication.adjudicate(
                session,
                body.triple,
                current_user(request).id,
                decision=body.decision,
                reasons=body.reasons,
                note=body.note,
            )

    @router.delete("/adjudication/{triple}")
    def withdraw(triple: Id) -> dict[str, bool]:
        """Take the last word back."""
        with store.write() as session:
            adjudication.withdraw_adjudication(session, triple)
        return {"done": True}

    @router.put("/guidelines")
    def write(request: Request, body: GuidelinesIn) -> dict[str, Any]:
        """A new version of the guidelines."""
        with store.write() as session:
            guidelines.save_guidelines(session, body.text, current_user(request).id)
            return guidelines.current_guidelines(session)

    @router.put("/gold")
    def gold(request: Request, body: GoldIn) -> dict[str, bool]:
        """State what is right of a triple; every batch with gold has it from now on."""
        with store.write() as session:
            quality.set_gold(
                session,
                body.triple,
                body.decision,
                reasons=body.reasons,
                note=body.note,
                is_training_item=body.is_training_item,
                author=current_user(request).id,
            )
        return {"done": True}

    @router.post("/pauses")
    def pause(body: PauseIn) -> dict[str, bool]:
        """Stop a person in a batch."""
        with store.write() as session:
            quality.pause_in_batch(session, body.person, body.batch, body.reason)
        return {"done": True}

    @router.post("/pauses/{pause_id}/lift")
    def lift(request: Request, pause_id: Id) -> dict[str, bool]:
        """Let a person go on."""
        with store.write() as session:
            quality.lift_pause(session, pause_id, current_user(request).id)
        return {"done": True}

    return router
