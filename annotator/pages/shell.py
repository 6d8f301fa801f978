"""What all pages share: head, navigation, and the element that holds a page's own HTML.

A page's HTML is static, and its links are relative: the app may be served below any path. Texts of
models and people reach it as data and are inserted as text.
"""

import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import gradio as gr
from pydantic import ConfigDict, ValidationError, validate_call
from starlette.exceptions import HTTPException
from starlette.requests import Request

from annotator.web import static_files
from annotator.web.security import ACCESS_RANK, REQUIRED_ROLES, access_of, current_user
from db.schema import Role
from regions.errors import UserError
from regions.marks import PALETTE, ink

PAGES = {
    "annotate": "Annotate",
    "adjudicate": "Adjudicate",
    "project": "Project",
    "people": "People",
    "generate": "Generate",
    "critic": "Critic",
    "demo": "Demo",
}
"""Pages by name: `annotator.pages.NAME.page.build(store)`, served at `/NAME/`; and their titles."""

_STYLES = {
    "adjudicate": ("annotate",),
    "people": ("project",),
    "generate": ("project",),
}
"""Other pages whose styles a page loads before its own."""

_FOLDER = Path(__file__).parent
_REQUIRES = "required_role"


def head(name: str) -> str:
    """The contents of a page's <head>: styles, its script, and the colours of regions."""
    palette = json.dumps([[colour, ink(colour)] for colour in PALETTE])
    pages = (*_STYLES.get(name, ()), name)
    styles = (
        "canvas/theme.css",
        "canvas/canvas.css",
        *(f"pages/{page}/{page}.css" for page in pages),
    )
    return "\n".join(
        [
            '<link rel="icon" href="../favicon.ico">',
            *(f'<link rel="stylesheet" href="..{static_files.url(style)}">' for style in styles),
            f'<script type="application/json" id="lskd-palette">{palette}</script>',
            f'<script type="module" src="..{_script(name)}"></script>',
        ]
    )


def _script(name: str) -> str:
    """The URL of a page's module, which exports `open(element, server)`."""
    return static_files.url(f"pages/{name}/{name}.js")


def render_shell(name: str, functions: Sequence[Callable[..., Any]] = ()) -> gr.HTML:
    """The navigation and the page's own HTML; its script can call `functions` on the server."""
    links = "".join(
        f'<a href="../{other}/" data-needs="{_required_role(other)}"'
        f"{' aria-current=page' if other == name else ''}>{title}</a>"
        for other, title in PAGES.items()
    )
    body = (_FOLDER / name / f"{name}.html").read_text("utf-8")
    return gr.HTML(
        value={},
        html_template=(
            f'<div class="lskd"><header class="bar"><nav aria-label="pages">{links}</nav>'
            f'<div class="status"></div><div class="account"></div></header>{body}</div>'
        ),
        # The module is loaded once: <head> has the same URL, so that it is fetched meanwhile.
        js_on_load=(
            f'import(new URL("..{_script(name)}", document.baseURI).href)'
            ".then((page) => page.open(element, server));"
        ),
        apply_default_css=False,
        server_functions=[catch_user_errors(function) for function in functions],
    )


def _required_role(page: str) -> str:
    """The role that sees the link to a page. `AuthMiddleware` decides who may open it."""
    return REQUIRED_ROLES["/" + page]


def catch_user_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adapt a function for a page: keywords as one dict, UserError as `{"error": message}`.

    A parameter `user` is the person who calls it. Arguments of other types than the function states
    are an error too, and a lower role than that of `requires` is HTTP 403.
    """
    checked = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(function)
    takes_user = "user" in inspect.signature(function).parameters

    def call(arguments: Any, request: gr.Request) -> Any:  # noqa: ANN401 - JSON
        # Gradio passes Starlette's request here, and its own elsewhere, which has the same scope.
        user = current_user(cast("Request", request))
        role = required_role_of(function)
        if role is not None and ACCESS_RANK[access_of(user)] < ACCESS_RANK[role]:
            raise HTTPException(403, f"this requires the role {role}; your role is {user.role}")
        if not isinstance(arguments or {}, dict):
            return {"error": "the arguments must have names"}
        keywords = {**(arguments or {}), **({"user": user} if takes_user else {})}
        try:
            return checked(**keywords)
        except UserError as error:
            return {"error": str(error)}
        except ValidationError as error:
            fault = error.errors()[0]
            return {"error": f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"}

    call.__name__ = function.__name__
    return call


def requires(role: Role) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a function of a page as one that needs a higher role than the page."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__dict__[_REQUIRES] = role
        return function

    return mark


def required_role_of(function: Callable[..., Any]) -> Role | None:
    """The role that `requires` has set; None: whoever may open the page may call it."""
    role: Role | None = getattr(function, _REQUIRES, None)
    return role
