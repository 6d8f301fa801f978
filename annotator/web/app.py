"""The web app over one store: security, sign-in, API, static files, and the Gradio pages."""

import os
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.responses import Response

from annotator.accounts import sessions
from annotator.web import api, auth_pages
from annotator.web.lazy_pages import LazyPage, PagesMiddleware
from annotator.web.security import AuthMiddleware, is_loopback
from db.store.session import Store
from regions.errors import UserError

# Read when Gradio is imported: it must not contact other hosts.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

_PACKAGE = Path(__file__).parent.parent
STATIC = {
    file.name: file
    for folder in ("canvas", "pages")
    for file in sorted((_PACKAGE / folder).rglob("*.[cj]s*"))
}


def build(store: Store, *, host: str = "127.0.0.1") -> FastAPI:
    """The app; UserError if it would listen on the network without any account."""
    with store.read() as session:
        if not is_loopback(host) and not sessions.has_accounts(session):
            raise UserError(
                "the app has no accounts and would be open to the network",
                where=host,
                hint="add an account with `lskd users add`, or omit --host",
            )
    app = FastAPI(
        title="LSKD Studio", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json"
    )
    api.add_api(app, store)
    app.include_router(auth_pages.router)
    _add_static_files(app)
    from annotator.pages.shell import PAGES

    app.state.pages = {name: LazyPage(name, store) for name in PAGES}
    app.add_middleware(PagesMiddleware, pages=app.state.pages)
    app.add_middleware(AuthMiddleware, store=store, host=host)
    return app


def _add_static_files(app: FastAPI) -> None:
    @app.get("/")
    def home() -> RedirectResponse:
        return RedirectResponse("/annotate/")

    @app.get("/favicon.ico")
    def icon() -> FileResponse:
        return FileResponse(_PACKAGE / "canvas" / "icon.svg", media_type="image/svg+xml")

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        """A file of a fixed list; browsers revalidate it on each request."""
        if name not in STATIC:
            return HTMLResponse("no such file", 404)
        return FileResponse(STATIC[name], headers={"cache-control": "no-cache"})
