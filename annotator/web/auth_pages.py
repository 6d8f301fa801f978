"""The ways in and out: sign-in, invitations, a crowd's links, log-out. Plain pages, no script."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, select_autoescape
from starlette.requests import Request
from starlette.responses import Response

from annotator import languages
from annotator.accounts import accounts, sessions
from annotator.crowd import studies
from annotator.web.errors import status_of
from annotator.web.security import COOKIE
from db.store.session import Store
from regions.errors import UserError

_PAGE = Environment(autoescape=select_autoescape(default=True)).from_string(
    (Path(__file__).parent / "auth_page.html").read_text("utf-8")
)
_NAME = ("name", "Name", "text", "username")
_PASSWORD = ("password", "Password", "password", "current-password")
_NEW_PASSWORD = ("password", "Password, at least 8 characters", "password", "new-password")
_HOME = "/annotate/"


def routes(store: Store) -> APIRouter:
    """The routes over a store; none needs a cookie."""
    router = APIRouter(include_in_schema=False)
    for add in (_sign_in, _invitations, _studies):
        add(router, store)
    return router


def _sign_in(router: APIRouter, store: Store) -> None:
    def page(request: Request, next_: str, status: int = 200, message: str = "") -> Response:
        return _door(
            request,
            status=status,
            title="Sign in",
            message=message,
            action="/login",
            next=next_,
            fields=[_NAME, _PASSWORD],
            button="Sign in",
        )

    @router.get("/login")
    def form(request: Request, next_: Annotated[str, Query(alias="next")] = _HOME) -> Response:
        return page(request, next_)

    @router.post("/login")
    def enter(
        request: Request,
        name: Annotated[str, Form()],
        password: Annotated[str, Form()],
        next_: Annotated[str, Form(alias="next")] = _HOME,
    ) -> Response:
        address = request.client.host if request.client else ""
        try:
            token = sessions.sign_in(store, name, password, address)
        except sessions.TooManyAttemptsError as refusal:
            return page(request, next_, 429, str(refusal))
        if token is None:
            return page(request, next_, 401, "That name and password do not go together.")
        # Only a path of ours: two slashes would be another host.
        inside = next_.startswith("/") and not next_.startswith(("//", "/\\"))
        return _let_in(request, token, RedirectResponse(next_ if inside else _HOME, 303))

    @router.post("/logout")
    def leave(request: Request) -> Response:
        sessions.sign_out(store, request.cookies.get(COOKIE, ""))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE)
        return response


def _invitations(router: APIRouter, store: Store) -> None:
    def page(request: Request, secret: str, status: int = 200, message: str = "") -> Response:
        try:
            with store.read() as session:
                accounts.get_invitation(session, secret)
        except UserError as error:
            return _door(request, status=status_of(error), title="Invitation", message=str(error))
        return _door(
            request,
            status=status,
            title="Your account",
            message=message,
            action=f"/invite/{secret}",
            fields=[_NAME, _NEW_PASSWORD],
            button="Make my account",
        )

    @router.get("/invite/{secret}")
    def form(request: Request, secret: str) -> Response:
        return page(request, secret)

    @router.post("/invite/{secret}")
    def accept(
        request: Request,
        secret: str,
        name: Annotated[str, Form()],
        password: Annotated[str, Form()],
    ) -> Response:
        try:
            with store.write() as session:
                token = accounts.accept_invitation(session, secret, name, password)
        except UserError as error:
            return page(request, secret, status_of(error), str(error))
        return _let_in(request, token, RedirectResponse(_HOME, 303))


def _studies(router: APIRouter, store: Store) -> None:
    @router.get("/join/{link}")
    def arrive(request: Request, link: str) -> Response:
        """A page in between: a strict cookie does not go along when another site sends people."""
        try:
            with store.write() as session:
                study = studies.study_by_link(session, link)
                token = studies.join_study(
                    session, link, studies.parse_arrival(request.query_params)
                )
                quota = study.quota
        except UserError as error:
            return _door(request, status=status_of(error), title="Study", message=str(error))
        said = (
            languages.translations(_language(request)).get(_TASK, _TASK).replace("{n}", str(quota))
        )
        door = _door(
            request, title="Welcome", lines=[said], action=_HOME, button="Start", fields=[]
        )
        return _let_in(request, token, door)


_TASK = (
    "You will judge {n} short texts about numbered regions of pictures. "
    "Read the guidelines first; at the end you get your completion code."
)


def _language(request: Request) -> str:
    return languages.preferred_language(request.headers.get("accept-language", ""))


def _door(request: Request, *, status: int = 200, **filled: Any) -> HTMLResponse:  # noqa: ANN401 - the template's
    language = _language(request)
    known = languages.translations(language)
    page = _PAGE.render(say=lambda words: known.get(words, words), language=language, **filled)
    return HTMLResponse(page, status)


def _let_in(request: Request, token: str, response: Response) -> Response:
    response.set_cookie(
        COOKIE,
        token,
        max_age=sessions.SESSION_HOURS * 3600,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response
