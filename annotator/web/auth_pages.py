"""Sign-in, invitations, studies' links and sign-out: plain HTML pages without scripts."""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, select_autoescape
from starlette.requests import Request
from starlette.responses import Response

from annotator import languages
from annotator.accounts import accounts, sessions
from annotator.accounts.sessions import TooManyAttemptsError
from annotator.crowd import studies
from annotator.web import static_files
from annotator.web.dependencies import StoreDep
from annotator.web.errors import status_of
from annotator.web.security import COOKIE
from regions.errors import UserError


class _Field(NamedTuple):
    """An input of a form."""

    name: str
    label: str
    type: str
    autocomplete: str


_TEMPLATE = Environment(autoescape=select_autoescape(default=True)).from_string(
    (Path(__file__).parent / "auth_page.html").read_text("utf-8")
)
_NAME = _Field("name", "Name", "text", "username")
_PASSWORD = _Field("password", "Password", "password", "current-password")
_NEW_PASSWORD = _Field("password", "Password (at least 8 characters)", "password", "new-password")
_HOME = "/annotate/"
_THEME = static_files.url("canvas/theme.css")
_STUDY_TASK = (
    "You will judge {n} short texts about numbered regions of pictures. "
    "Please read the guidelines first. At the end you will get a completion code."
)

router = APIRouter(include_in_schema=False)


@router.get("/login")
def login_page(request: Request, next_: Annotated[str, Query(alias="next")] = _HOME) -> Response:
    """The sign-in form."""
    return _login_form(request, next_)


@router.post("/login")
def sign_in(
    request: Request,
    store: StoreDep,
    name: Annotated[str, Form()],
    password: Annotated[str, Form()],
    next_: Annotated[str, Form(alias="next")] = _HOME,
) -> Response:
    """Sign in and go to the page `next`."""
    address = request.client.host if request.client else ""
    try:
        token = sessions.sign_in(store, name, password, address)
    except TooManyAttemptsError as error:
        return _login_form(request, next_, status=status_of(error), message=str(error))
    if token is None:
        return _login_form(request, next_, status=401, message="Wrong name or password.")
    # Paths of this site only: two slashes would name another host.
    is_local = next_.startswith("/") and not next_.startswith(("//", "/\\"))
    return _with_cookie(request, token, RedirectResponse(next_ if is_local else _HOME, 303))


@router.post("/logout")
def sign_out(request: Request, store: StoreDep) -> Response:
    """Sign out this browser."""
    sessions.sign_out(store, request.cookies.get(COOKIE, ""))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE)
    return response


@router.get("/invite/{secret}")
def invitation_page(request: Request, store: StoreDep, secret: str) -> Response:
    """The form of an invitation."""
    return _invitation_form(request, store, secret)


@router.post("/invite/{secret}")
def accept_invitation(
    request: Request,
    store: StoreDep,
    secret: str,
    name: Annotated[str, Form()],
    password: Annotated[str, Form()],
) -> Response:
    """Create the account of an invitation and sign it in."""
    try:
        with store.write() as session:
            token = accounts.accept_invitation(session, secret, name, password)
    except UserError as error:
        return _invitation_form(request, store, secret, status=status_of(error), message=str(error))
    return _with_cookie(request, token, RedirectResponse(_HOME, 303))


@router.get("/join/{link}")
def join_study(request: Request, store: StoreDep, link: str) -> Response:
    """Sign a crowd worker in and show a start page.

    Not a redirect: browsers do not send a strict cookie while they follow a link of another site.
    """
    try:
        with store.write() as session:
            study = studies.study_by_link(session, link)
            ids = studies.parse_platform_ids(request.query_params)
            token = studies.join_study(session, link, ids)
            quota = study.quota
    except UserError as error:
        return _render(request, status=status_of(error), title="Study", message=str(error))
    translations = languages.translations(_language(request))
    task = translations.get(_STUDY_TASK, _STUDY_TASK).replace("{n}", str(quota))
    page = _render(request, title="Welcome", lines=[task], action=_HOME, button="Start", fields=[])
    return _with_cookie(request, token, page)


def _login_form(request: Request, next_: str, *, status: int = 200, message: str = "") -> Response:
    return _render(
        request,
        status=status,
        title="Sign in",
        message=message,
        action="/login",
        next=next_,
        fields=[_NAME, _PASSWORD],
        button="Sign in",
    )


def _invitation_form(
    request: Request, store: StoreDep, secret: str, *, status: int = 200, message: str = ""
) -> Response:
    """The form, or a message if the invitation is not valid."""
    try:
        with store.read() as session:
            accounts.get_invitation(session, secret)
    except UserError as error:
        return _render(request, status=status_of(error), title="Invitation", message=str(error))
    return _render(
        request,
        status=status,
        title="Your account",
        message=message,
        action=f"/invite/{secret}",
        fields=[_NAME, _NEW_PASSWORD],
        button="Create account",
    )


def _language(request: Request) -> str:
    return languages.preferred_language(request.headers.get("accept-language", ""))


def _render(request: Request, *, status: int = 200, **values: Any) -> HTMLResponse:  # noqa: ANN401 - the template's
    """The page in the browser's language."""
    language = _language(request)
    translations = languages.translations(language)

    def say(text: str) -> str:
        translated = translations.get(text, text)
        return translated[:1].upper() + translated[1:]

    return HTMLResponse(
        _TEMPLATE.render(say=say, language=language, theme=_THEME, **values), status
    )


def _with_cookie(request: Request, token: str, response: Response) -> Response:
    response.set_cookie(
        COOKIE,
        token,
        max_age=sessions.SESSION_HOURS * 3600,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response
