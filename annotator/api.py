"""The annotator's fast path, as JSON: next, vote, undo, and pictures. Routes only call."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, FastAPI, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from annotator import images, queue
from annotator.security import person_of
from db.schema import Decision, Image, Reason
from db.session import Store
from regions.errors import UserError

_MOST_AHEAD = 32
_JSON = "application/json"
_WEEK = 7 * 24 * 3600


class VoteIn(BaseModel):
    """One judgement; `key` is made by the page, so that a save sent twice counts once."""

    key: str = Field(min_length=8, max_length=64)
    batch: str
    position: int = Field(ge=0)
    decision: Decision
    reasons: list[Reason] = []
    duration_ms: int | None = Field(default=None, ge=0, lt=2**31)
    ahead: int = Field(default=0, ge=0, le=_MOST_AHEAD)
    after: int = -1


class UndoIn(BaseModel):
    """The vote to withdraw."""

    key: str


def routes(store: Store) -> APIRouter:
    """The routes over a store."""
    router = APIRouter()
    triples = queue.Queue(store)

    @router.get("/api/batches")
    def batches(request: Request) -> list[dict[str, Any]]:
        """Every batch, the newest first, and how far this person is."""
        with store.read() as session:
            return [asdict(b) for b in queue.batches(session, person_of(request).id)]

    @router.get("/api/next")
    def following(
        request: Request,
        batch: str,
        count: Annotated[int, Query(ge=1, le=_MOST_AHEAD)] = queue.AHEAD,
        after: int = -1,
    ) -> dict[str, Any]:
        """Items to judge, leased to this person, and how far the batch is."""
        person = person_of(request)
        items = triples.lease(person.id, batch, count, after)
        with store.read() as session:
            progress = queue.progress(session, batch, person.id)
        return {"batch": asdict(progress), "items": items}

    @router.post("/api/votes")
    def vote(request: Request, body: VoteIn) -> Response:
        """Store a vote; with `ahead`, lease so many items in the same transaction."""
        items = triples.decide(person_of(request).id, **body.model_dump())
        # Written as it is: to look through it for types would take as long as the vote.
        return Response(orjson.dumps({"saved": True, "items": items}), media_type=_JSON)

    @router.post("/api/undo")
    def undo(request: Request, body: UndoIn) -> dict[str, Any]:
        """Withdraw a vote; its item comes back."""
        return {"item": triples.undo(person_of(request).id, body.key)}

    @router.get("/images/{image_id}")
    def image(image_id: int, width: Annotated[int | None, Query(ge=1)] = None) -> FileResponse:
        """A picture at least `width` pixels wide, if it has as many."""
        with store.read() as session:
            found = session.get(Image, image_id)
        if found is None:
            raise UserError("no such image", where=str(image_id))
        file = images.rendered(store, found, width)
        cache = f"private, max-age={_WEEK}"
        return FileResponse(file, media_type="image/jpeg", headers={"cache-control": cache})

    @router.get("/healthz")
    def healthz() -> dict[str, bool]:
        """The app is there."""
        return {"ok": True}

    return router


def answer_errors(app: FastAPI) -> None:
    """Every error of a request is one sentence."""
    answers: dict[type[Exception], Callable[[Any], tuple[int, str]]] = {
        UserError: lambda error: (404, str(error)),
        queue.Refused: lambda error: (409, str(error)),
        RequestValidationError: lambda error: (422, _first(error)),
    }
    for kind, answer in answers.items():

        def respond(_: Request, error: Exception, answer: Any = answer) -> JSONResponse:  # noqa: ANN401 - the lambda above
            status, sentence = answer(error)
            return JSONResponse({"error": sentence}, status)

        app.add_exception_handler(kind, respond)


def _first(error: RequestValidationError) -> str:
    found = error.errors()[0]
    return f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}"
