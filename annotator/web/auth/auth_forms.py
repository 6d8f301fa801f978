"""Forms without scripts for signing in and for accounts, in the browser's language."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

from anyio import CapacityLimiter
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, select_autoescape
from starlette.requests import Request
from starlette.responses import Response

from annotator import languages
from annotator.accounts import sessions, throttle
from annotator.accounts.sessions import SignedIn
from annotator.web import static_files
from annotator.web.errors import status_of
from annotator.web.security import COOKIE
from regions.errors import UserError

DEVICE_COOKIE = "lskd-device"
HOME = "/annotate/"
PASSWORD_THREADS = CapacityLimiter(2)
"""Hashing a password takes a core and 64 MiB; requests beyond these wait without a thread."""


class Field(NamedTuple):
    """An input of a form."""

    name: str
    label: str
    type: str
    autocomplete: str


class FormData(NamedTuple):
    """A form below another one: a heading, an explanation, its inputs and its button."""

    heading: str
    text: str
    action: str
    fields: list[Field]
    button: str


_TEMPLATE = Environment(autoescape=select_autoescape(default=True)).from_string(
    (Path(__file__).parent / "auth_page.html").read_text("utf-8")
)
_THEME = static_files.url("canvas/theme.css")


def render(
    request: Request,
    *,
    status: int = 200,
    error: UserError | None = None,
    **values: Any,  # noqa: ANN401 - the template's
) -> HTMLResponse:
    """A page with a title, lines, a message and forms; of an error, its message and status."""
    language = language_of(request)
    if error is not None:
        status, values["message"] = status_of(error), _translated(request, error)
    translations = languages.translations(language)

    def say(text: str) -> str:
        translated = translations.get(text, text)
        return translated[:1].upper() + translated[1:]

    page = _TEMPLATE.render(
        say=say, language=language, root=root_path(request), theme=_THEME, **values
    )
    return HTMLResponse(page, status)


def root_path(request: Request) -> str:
    """The path below which the app is served; mostly empty. See `annotator.web.app.build`."""
    return str(request.app.state.root_path)


def redirect(request: Request, path: str) -> RedirectResponse:
    """Go to a page of the app."""
    return RedirectResponse(root_path(request) + path, 303)


def language_of(request: Request) -> str:
    """The language that the browser prefers."""
    return languages.preferred_language(request.headers.get("accept-language", ""))


def _translated(request: Request, error: UserError) -> str:
    """An error's message in the browser's language; problem and hint are translated apart."""
    translations = languages.translations(language_of(request))
    problem = translations.get(error.problem, error.problem)
    where = f" ({error.where})" if error.where else ""
    hint = f": {translations.get(error.hint, error.hint)}" if error.hint else ""
    return problem + where + hint


def with_session(request: Request, signed_in: SignedIn, response: Response) -> Response:
    """The response with the cookies of a new session."""
    set_cookie(request, response, COOKIE, signed_in.token, sessions.SESSION_HOURS * 3600)
    device_seconds = throttle.DEVICE_DAYS * 24 * 3600
    return set_cookie(request, response, DEVICE_COOKIE, signed_in.device, device_seconds)


def set_cookie(
    request: Request,
    response: Response,
    name: str,
    value: str,
    seconds: int,
    *,
    same_site: Literal["strict", "lax"] = "strict",
) -> Response:
    """The response with a cookie that no script reads; other sites' links send a lax one."""
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path=_cookie_path(request),
        httponly=True,
        samesite=same_site,
        secure=request.url.scheme == "https",
    )
    return response


def delete_cookie(request: Request, response: Response, name: str) -> Response:
    """The response that removes a cookie."""
    response.delete_cookie(name, path=_cookie_path(request))
    return response


def _cookie_path(request: Request) -> str:
    return root_path(request) or "/"


def device_of(request: Request) -> str:
    """The device cookie of the browser, or nothing."""
    return request.cookies.get(DEVICE_COOKIE, "")
