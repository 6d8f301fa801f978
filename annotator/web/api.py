"""The whole JSON API over a store."""

from fastapi import FastAPI

from annotator.web import dependencies
from annotator.web.errors import add_exception_handlers
from annotator.web.monitoring import health
from annotator.web.routes import admin, ask, batches, bulk, labelling, me, research, studies
from db.store.session import Store


def add_api(app: FastAPI, store: Store) -> None:
    """Add every route of the API to an app, with its dependencies and error responses."""
    dependencies.provide(app, store)
    add_exception_handlers(app)
    for module in (labelling, me, research, batches, bulk, admin, studies, ask):
        app.include_router(module.router)
    app.include_router(health.router)
