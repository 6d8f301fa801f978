"""The whole JSON API over a store."""

from fastapi import APIRouter

from annotator.web.routes import admin, ask, bulk, labelling, me, research
from db.store.session import Store


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
