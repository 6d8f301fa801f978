"""Asking a student, for the demo page and for programs."""

import json
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from annotator.jobs import ask_service
from annotator.jobs.ask_service import AskIn
from db.store.session import Store


def routes(store: Store) -> APIRouter:
    """The route over a store."""
    router = APIRouter(tags=["student"])

    @router.post("/api/ask", response_model=None)
    def ask(body: AskIn) -> dict[str, Any] | StreamingResponse:
        """What a student says about regions of a picture; with `stream`, as it writes it."""
        if not body.stream:
            return ask_service.answer(store, body)
        return StreamingResponse(_lines(store, body), media_type="application/x-ndjson")

    return router


def _lines(store: Store, body: AskIn) -> Iterator[str]:
    for line in ask_service.told(store, body):
        yield json.dumps(line, ensure_ascii=False) + "\n"
