"""Sign-in, invitations, studies' links and sign-out: plain HTML pages without scripts."""

from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import Response

from annotator import languages
from annotator.accounts import accounts, sessions
from annotator.accounts.throttle import TooManyAttemptsError
from annotator.studies import joining, platforms
from annotator.web.auth import auth_forms
from annotator.web.auth.auth_forms import HOME, PASSWORD_THREADS, Field
from annotator.web.client_address import client_address
from annotator.web.dependencies import StoreDep
from annotator.web.security import COOKIE
from regions.errors import UserError

_NAME = Field("name", "Name", "text", "username")
_PASSWORD = Field("password", "Password", "password", "current-password")
_NEW_PASSWORD = Field("password", "Password (at least 8 characters)", "password", "new-password")
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
def login_page(request: Request, next_: Annotated[str, Query(alias="next")] = HOME) -> Response:
    """The sign-in form."""
    return _login_form(request, next_)


@router.post("/login")
async def sign_in(
    request: Request,
    store: StoreDep,
    name: Annotated[str, Form()],
    password: Annotated[str, Form()],
    next_: Annotated[str, Form(alias="next")] = HOME,
) -> Response:
    """Sign in and go to the page `next`."""
    address, device = client_address(request), auth_forms.device_of(request)
    attempt = partial(sessions.sign_in, store, name, password, address, device)
    try:
        signed_in = await to_thread.run_sync(attempt, limiter=PASSWORD_THREADS)
    except TooManyAttemptsError as error:
        return _login_form(request, next_, error=error)
    if signed_in is None:
        return _login_form(request, next_, status=401, message="Wrong name or password.")
    # Paths of this site only: two slashes would name another host.
    is_local = next_.startswith("/") and not next_.startswith(("//", "/\\"))
    response = auth_forms.redirect(request, next_ if is_local else HOME)
    return auth_forms.with_session(request, signed_in, response)


@router.post("/logout")
def sign_out(request: Request, store: StoreDep) -> Response:
    """Sign out this browser."""
    sessions.sign_out(store, request.cookies.get(COOKIE, ""))
    response = auth_forms.redirect(request, "/login")
    return auth_forms.delete_cookie(request, response, COOKIE)


@router.get("/invite/{secret}")
def invitation_page(request: Request, store: StoreDep, secret: str) -> Response:
    """The form of an invitation."""
    return _invitation_form(request, store, secret)


@router.post("/invite/{secret}")
async def accept_invitation(
    request: Request,
    store: StoreDep,
    secret: str,
    name: Annotated[str, Form()],
    password: Annotated[str, Form()],
) -> Response:
    """Create the account of an invitation and sign it in."""
    device = auth_forms.device_of(request)
    accept = partial(accounts.accept_invitation, store, secret, name, password, device)
    try:
        signed_in = await to_thread.run_sync(accept, limiter=PASSWORD_THREADS)
    except UserError as error:
        return _invitation_form(request, store, secret, error=error)
    return auth_forms.with_session(request, signed_in, auth_forms.redirect(request, HOME))


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
        return auth_forms.render(request, error=error, title="Study")
    translations = languages.translations(auth_forms.language_of(request))
    task = translations.get(_STUDY_TASK, _STUDY_TASK).replace("{n}", str(joined.quota))
    page = auth_forms.render(
        request, title="Welcome", lines=[task], action=HOME, button="Start", fields=[]
    )
    # Not strict: the platform's page is another site, and its link must send the cookie.
    auth_forms.set_cookie(
        request, page, _BROWSER_COOKIE, joined.browser, _BROWSER_COOKIE_SECONDS, same_site="lax"
    )
    return auth_forms.set_cookie(request, page, COOKIE, joined.token, sessions.SESSION_HOURS * 3600)


def _login_form(
    request: Request,
    next_: str,
    *,
    status: int = 200,
    message: str = "",
    error: UserError | None = None,
) -> Response:
    return auth_forms.render(
        request,
        status=status,
        error=error,
        title="Sign in",
        message=message,
        action="/login",
        next=next_,
        fields=[_NAME, _PASSWORD],
        button="Sign in",
    )


def _invitation_form(
    request: Request, store: StoreDep, secret: str, *, error: UserError | None = None
) -> Response:
    """The form, or a message if the invitation is not valid."""
    try:
        with store.read() as session:
            accounts.get_invitation(session, secret)
    except UserError as invalid:
        return auth_forms.render(request, error=invalid, title="Invitation")
    return auth_forms.render(
        request,
        error=error,
        title="Your account",
        action=f"/invite/{secret}",
        fields=[_NAME, _NEW_PASSWORD],
        button="Create account",
    )
