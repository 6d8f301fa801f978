"""The whole JSON API over a store, and how it answers errors: one sentence each."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError
from starlette.requests import Request

from annotator.accounts import sessions
from annotator.crowd import queue
from annotator.web.routes import admin, ask, bulk, labelling, me, research
from db.store.session import Store
from regions.errors import ConflictError, InvalidError, NotFoundError, UserError


def routes(store: Store) -> APIRouter:
    """Every route."""
    router = APIRouter()
    for part in (
        labelling.routes(store),
        me.routes(store),
        research.routes(store),
        bulk.routes(store),
        admin.routes(store),
        ask.routes(store),
    ):
        router.include_router(part)

    @router.get("/healthz", tags=["labelling"])
    def healthz() -> dict[str, bool]:
        """The app is there."""
        return {"ok": True}

    return router


def answer_errors(app: FastAPI) -> None:
    """Every error of a request is one sentence."""
    answers: dict[type[Exception], Callable[[Any], tuple[int, str]]] = {
        NotFoundError: lambda error: (404, str(error)),
        ConflictError: lambda error: (409, str(error)),
        InvalidError: lambda error: (422, str(error)),
        UserError: lambda error: (404, str(error)),
        queue.Refused: lambda error: (409, str(error)),
        sessions.TooMany: lambda error: (429, str(error)),
        RequestValidationError: lambda error: (422, _first(error)),
        # Such as a NUL character, which PostgreSQL has no room for.
        DataError: lambda _: (422, "the request holds what no store can hold"),
    }
    for kind, answer in answers.items():

        def respond(_: Request, error: Exception, answer: Any = answer) -> JSONResponse:  # noqa: ANN401 - the lambda above
            status, sentence = answer(error)
            return JSONResponse({"error": sentence}, status)

        app.add_exception_handler(kind, respond)


def _first(error: RequestValidationError) -> str:
    found = error.errors()[0]
    return f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}"
