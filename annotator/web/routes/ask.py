"""The route that asks a student, for the demo page and for scripts."""

import json
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from annotator.jobs import ask_service
from annotator.jobs.ask_service import AskRequest
from annotator.labelling.visibility import visible_image
from annotator.web.dependencies import StoreDep, UserDep
from db.store.session import Store

router = APIRouter(tags=["student"])


@router.post("/api/ask", response_model=None)
def ask_student(
    store: StoreDep, user: UserDep, body: AskRequest
) -> dict[str, Any] | StreamingResponse:
    """A student's answer about regions of an image; with `stream`, one JSON object per line."""
    if body.image is not None:
        with store.read() as session:
            visible_image(session, user, body.image)
    if not body.stream:
        return ask_service.answer(store, body)
    return StreamingResponse(_json_lines(store, body), media_type="application/x-ndjson")


def _json_lines(store: Store, request: AskRequest) -> Iterator[str]:
    for event in ask_service.stream_answer(store, request):
        yield json.dumps(event, ensure_ascii=False) + "\n"
