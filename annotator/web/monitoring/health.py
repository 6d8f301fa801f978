"""Health of the app, for a proxy or a service manager."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from annotator.web.dependencies import StoreDep
from regions.errors import UserError

router = APIRouter(tags=["labelling"])


@router.get("/healthz", response_model=None)
def check_health(store: StoreDep) -> dict[str, bool] | JSONResponse:
    """Whether the app is running and its store answers; 503 if it does not."""
    try:
        with store.read() as session:
            session.execute(text("SELECT 1 FROM runs LIMIT 1"))
    except (SQLAlchemyError, UserError):
        return JSONResponse({"ok": False, "error": "the store does not answer"}, 503)
    return {"ok": True}
