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
from annotator.studies import joining, platforms
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

_BROWSER_COOKIE = "lskd_browser"
"""Proves that a crowd worker comes from the browser that joined a study."""
_BROWSER_COOKIE_SECONDS = 400 * 24 * 3600
"""The longest time that browsers allow."""

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
    query = request.query_params
    try:
        ids = platforms.parse_platform_ids(query)
        with store.write() as session:
            joined = joining.join_study(
                session,
                link,
                ids,
                signature=query.get(platforms.SIGNATURE, ""),
                browser=request.cookies.get(_BROWSER_COOKIE, ""),
            )
    except UserError as error:
        message = _translated(request, error)
        return _render(request, status=status_of(error), title="Study", message=message)
    translations = languages.translations(_language(request))
    task = translations.get(_STUDY_TASK, _STUDY_TASK).replace("{n}", str(joined.quota))
    page = _render(request, title="Welcome", lines=[task], action=_HOME, button="Start", fields=[])
    page.set_cookie(
        _BROWSER_COOKIE,
        joined.browser,
        max_age=_BROWSER_COOKIE_SECONDS,
        httponly=True,
        # Not strict: the platform's page is another site, and its link must send the cookie.
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return _with_cookie(request, joined.token, page)


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


def _translated(request: Request, error: UserError) -> str:
    """An error's message in the browser's language; problem and hint are translated apart."""
    translations = languages.translations(_language(request))
    problem = translations.get(error.problem, error.problem)
    where = f" ({error.where})" if error.where else ""
    hint = f": {translations.get(error.hint, error.hint)}" if error.hint else ""
    return problem + where + hint


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
