"""What all pages share: head, navigation, and the element that holds a page's own HTML.

A page's HTML is static. Texts of models and people reach it as data and are inserted as text.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from annotator.web import static_files
from annotator.web.security import REQUIRED_ROLES
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
            '<link rel="icon" href="/favicon.ico">',
            *(f'<link rel="stylesheet" href="{static_files.url(style)}">' for style in styles),
            f'<script type="application/json" id="lskd-palette">{palette}</script>',
            f'<script type="module" src="{_script(name)}"></script>',
        ]
    )


def _script(name: str) -> str:
    """The URL of a page's module, which exports `open(element, server)`."""
    return static_files.url(f"pages/{name}/{name}.js")


def render_shell(name: str, functions: Sequence[Callable[..., Any]] = ()) -> gr.HTML:
    """The navigation and the page's own HTML; its script can call `functions` on the server."""
    links = "".join(
        f'<a href="/{other}/" data-needs="{_required_role(other)}"'
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
        js_on_load=f'import("{_script(name)}").then((page) => page.open(element, server));',
        apply_default_css=False,
        server_functions=[catch_user_errors(function) for function in functions],
    )


def _required_role(page: str) -> str:
    """The role that sees the link to a page. `AuthMiddleware` decides who may open it."""
    return REQUIRED_ROLES["/" + page]


def catch_user_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adapt a function for a page: keywords as one dict, UserError as `{"error": message}`."""

    def call(arguments: Any) -> Any:  # noqa: ANN401 - JSON
        try:
            return function(**(arguments or {}))
        except UserError as error:
            return {"error": str(error)}

    call.__name__ = function.__name__
    return call
