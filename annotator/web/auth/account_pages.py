"""The account page, where people change their password, and the page of a reset link."""

from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import Response

from annotator.accounts import password_changes, sessions
from annotator.accounts.sessions import CurrentUser
from annotator.web.auth import auth_forms
from annotator.web.auth.auth_forms import HOME, PASSWORD_THREADS, Field, FormData
from annotator.web.client_address import client_address
from annotator.web.dependencies import StoreDep, UserDep
from annotator.web.security import COOKIE
from regions.errors import UserError

_CURRENT = Field("current", "Current password", "password", "current-password")
_NEW = Field("new", "New password (at least 8 characters)", "password", "new-password")
_SIGN_OUT = FormData(
    heading="Sign out everywhere",
    text="Ends all your sessions, on every device, and revokes your API tokens.",
    action="/account/sign-out-everywhere",
    fields=[],
    button="Sign out everywhere",
)

router = APIRouter(include_in_schema=False)


@router.get("/account")
def account_page(request: Request, user: UserDep) -> Response:
    """The forms of one's own account."""
    return _account_form(request, user)


@router.post("/account")
async def change_password(
    request: Request,
    store: StoreDep,
    user: UserDep,
    current: Annotated[str, Form()],
    new: Annotated[str, Form()],
) -> Response:
    """Change one's own password; other sessions end."""
    change = partial(
        password_changes.change_password,
        store,
        user.id,
        current,
        new,
        address=client_address(request),
        device=auth_forms.device_of(request),
        token=request.cookies.get(COOKIE, ""),
    )
    try:
        await to_thread.run_sync(change, limiter=PASSWORD_THREADS)
    except UserError as error:
        return _account_form(request, user, error=error)
    return _account_form(
        request, user, done="Your password is changed. Your other sessions have ended."
    )


@router.post("/account/sign-out-everywhere")
def sign_out_everywhere(request: Request, store: StoreDep, user: UserDep) -> Response:
    """Invalidate every cookie, token and link of the person."""
    with store.write() as session:
        sessions.sign_out_everywhere(session, user.id)
    return auth_forms.redirect(request, "/login")


@router.get("/reset/{secret}")
def reset_page(request: Request, store: StoreDep, secret: str) -> Response:
    """The form of a reset link."""
    return _reset_form(request, store, secret)


@router.post("/reset/{secret}")
async def use_reset(
    request: Request, store: StoreDep, secret: str, new: Annotated[str, Form()]
) -> Response:
    """Set the new password, end all sessions, and sign in."""
    device = auth_forms.device_of(request)
    use = partial(password_changes.use_reset, store, secret, new, device)
    try:
        signed_in = await to_thread.run_sync(use, limiter=PASSWORD_THREADS)
    except UserError as error:
        return _reset_form(request, store, secret, error=error)
    return auth_forms.with_session(request, signed_in, auth_forms.redirect(request, HOME))


def _account_form(
    request: Request, user: CurrentUser, *, error: UserError | None = None, done: str = ""
) -> Response:
    if user.name == sessions.LOCAL_NAME:
        return auth_forms.render(
            request, title="Account", message="This app has no accounts.", back=HOME
        )
    return auth_forms.render(
        request,
        error=error,
        title="Account",
        lines=[user.name],
        done=done,
        action="/account",
        fields=[_CURRENT, _NEW],
        button="Change password",
        forms=[_SIGN_OUT],
        back=HOME,
    )


def _reset_form(
    request: Request, store: StoreDep, secret: str, *, error: UserError | None = None
) -> Response:
    """The form, or a message if the link is not valid."""
    try:
        with store.read() as session:
            name = password_changes.reset_owner(session, secret).name
    except UserError as invalid:
        return auth_forms.render(request, error=invalid, title="New password")
    return auth_forms.render(
        request,
        error=error,
        title="New password",
        lines=[name],
        action=f"/reset/{secret}",
        fields=[_NEW],
        button="Set password",
    )
