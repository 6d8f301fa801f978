"""The web app over one store: gate, sign-in, API, static files, and a Gradio page a role."""

import os
from collections.abc import Callable
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Form, Query
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from annotator import api, login
from annotator.security import COOKIE, Gate, is_loopback, person_of
from db.session import Store
from regions.errors import UserError

# Read when Gradio is imported: it asks nothing of the outside.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

_HERE = Path(__file__).parent
STATIC = {file.name: file for file in sorted((_HERE / "canvas").glob("*.[cj]s*"))} | {
    file.name: file for file in sorted((_HERE / "pages").glob("*.[cj]s*"))
}


def build(store: Store, *, host: str = "127.0.0.1") -> FastAPI:
    """The app; UserError if it would listen to the network without any account."""
    with store.read() as session:
        if not is_loopback(host) and not login.has_accounts(session):
            raise UserError(
                "nobody has an account, and the network could reach the app",
                where=host,
                todo="add one with `lskd users add`, or leave --host out",
            )
    app = FastAPI(title="LSKD Studio", docs_url=None, redoc_url=None, openapi_url=None)
    api.answer_errors(app)
    app.include_router(api.routes(store))
    _add_sign_in(app, store)
    _add_static(app)
    from annotator.pages.shell import PAGES

    for name in PAGES:
        _mount(app, name, import_module(f"annotator.pages.{name}").build, store)
    # Gradio answers any origin with its credentials unless a parent has decided otherwise.
    app.add_middleware(CORSMiddleware, allow_origins=[])
    app.add_middleware(Gate, store=store, host=host)
    return app


def _mount(app: FastAPI, name: str, page: Callable[[Store], object], store: Store) -> None:
    import gradio as gr

    from annotator.pages.shell import head

    gr.mount_gradio_app(
        app,
        page(store),
        path=f"/{name}",
        root_path=f"/{name}",
        auth_dependency=lambda request: person_of(request).name,
        head=head(name),
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        footer_links=[],
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
    )


def _add_static(app: FastAPI) -> None:
    @app.get("/")
    def home() -> RedirectResponse:
        return RedirectResponse("/annotate/")

    @app.get("/favicon.ico")
    def icon() -> FileResponse:
        return FileResponse(_HERE / "canvas" / "icon.svg", media_type="image/svg+xml")

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        """A file out of a fixed list; browsers ask each time whether it has changed."""
        if name not in STATIC:
            return HTMLResponse("no such file", 404)
        return FileResponse(STATIC[name], headers={"cache-control": "no-cache"})


def _add_sign_in(app: FastAPI, store: Store) -> None:
    page = (_HERE / "pages" / "login.html").read_text("utf-8")

    @app.get("/login")
    def form(next_: Annotated[str, Query(alias="next")] = "/annotate/") -> HTMLResponse:
        return sign_in_page(next_)

    def sign_in_page(next_: str, *, wrong: bool = False) -> HTMLResponse:
        message = "That name and password do not go together." if wrong else ""
        filled = page.replace("@message", message).replace("@next", escape(next_, quote=True))
        return HTMLResponse(filled, 401 if wrong else 200)

    @app.post("/login")
    def enter(
        request: Request,
        name: Annotated[str, Form()],
        password: Annotated[str, Form()],
        next_: Annotated[str, Form(alias="next")] = "/annotate/",
    ) -> Response:
        token = login.sign_in(store, name, password)
        if token is None:
            return sign_in_page(next_, wrong=True)
        # Only a path of ours: two slashes would be another host.
        inside = next_.startswith("/") and not next_.startswith(("//", "/\\"))
        response = RedirectResponse(next_ if inside else "/annotate/", 303)
        response.set_cookie(
            COOKIE,
            token,
            max_age=login.HOURS * 3600,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    @app.post("/logout")
    def leave(request: Request) -> Response:
        login.sign_out(store, request.cookies.get(COOKIE, ""))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE)
        return response
