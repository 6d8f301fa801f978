"""What all pages share: head, navigation, and the one surface that a page draws on.

A page's HTML is fixed: what models and people wrote reaches it as data, and is set as text.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

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
"""Each is `annotator.pages.NAME.page` with `build(store)`, served at `/NAME/`."""

_SCRIPTS = {
    "annotate": ("outbox.js",),
    "critic": ("panels.js", "plots.js"),
    "demo": ("plots.js", "students.js"),
}
_STYLES = {
    "adjudicate": ("annotate.css",),
    "people": ("project.css",),
    "generate": ("project.css",),
}
"""What a page needs before its own."""

_HERE = Path(__file__).parent


def head(name: str) -> str:
    """The page's head: its styles, scripts and the colours of regions."""
    palette = json.dumps([[colour, ink(colour)] for colour in PALETTE])
    styles = ("theme.css", "canvas.css", *_STYLES.get(name, ()), f"{name}.css")
    scripts = ("canvas.js", *_SCRIPTS.get(name, ()), f"{name}.js")
    return "\n".join(
        [
            '<link rel="icon" href="/favicon.ico">',
            *(f'<link rel="stylesheet" href="/static/{style}">' for style in styles),
            f'<script type="application/json" id="lskd-palette">{palette}</script>',
            *(f'<script src="/static/{script}" defer></script>' for script in scripts),
        ]
    )


def render_shell(name: str, functions: Sequence[Callable[..., Any]] = ()) -> gr.HTML:
    """The page's navigation and its own HTML file; `functions` are what its script may call."""
    links = "".join(
        f'<a href="/{other}/" data-needs="{_needs(other)}"'
        f"{' aria-current=page' if other == name else ''}>{title}</a>"
        for other, title in PAGES.items()
    )
    body = (_HERE / name / f"{name}.html").read_text("utf-8")
    return gr.HTML(
        value={},
        html_template=(
            f'<div class="lskd"><header class="bar"><nav aria-label="pages">{links}</nav>'
            f'<div class="status"></div><div class="account"></div></header>{body}</div>'
        ),
        js_on_load=(
            f"(function go() {{ window.LSKD?.pages.{name} "
            f"? LSKD.pages.{name}(element, typeof server === 'undefined' ? null : server) "
            ": setTimeout(go, 10); })();"
        ),
        apply_default_css=False,
        server_functions=[catch_user_errors(function) for function in functions],
    )


def _needs(page: str) -> str:
    """Who is shown the way to a page; the gate decides who gets in."""
    return "worker" if page == "annotate" else REQUIRED_ROLES["/" + page]


def catch_user_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function for a page: a user's mistake comes back as `{"error": sentence}`."""

    def answer(asked: Any) -> Any:  # noqa: ANN401 - JSON
        try:
            return function(**(asked or {}))
        except UserError as error:
            return {"error": str(error)}

    answer.__name__ = function.__name__
    return answer
