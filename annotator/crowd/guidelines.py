"""What annotators are told: Markdown that a researcher writes, kept in every version."""

from pathlib import Path
from typing import Any

import nh3
from markdown_it import MarkdownIt
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.schema import Guideline
from db.store.clock import now
from regions.errors import InvalidError

MAX_LENGTH = 50_000
_DEFAULT = Path(__file__).parent / "guidelines.md"
_TAGS = {
    *("p", "h1", "h2", "h3", "h4", "ul", "ol", "li", "strong", "em", "code", "pre", "blockquote"),
    *("table", "thead", "tbody", "tr", "th", "td", "hr", "br", "a", "s"),
}


def current_guidelines(session: Session) -> dict[str, Any]:
    """The newest version: its id (None: the text that comes with the program), text and HTML."""
    newest = session.scalar(select(Guideline).order_by(Guideline.id.desc()).limit(1))
    text = newest.text if newest is not None else _DEFAULT.read_text("utf-8")
    return {
        "id": newest.id if newest is not None else None,
        "text": text,
        "html": render_markdown(text),
    }


def save_guidelines(session: Session, text: str, author: int) -> int:
    """Keep a new version; its id. Written again as it is, it stays the same version."""
    words = text.strip()
    if not words or len(words) > MAX_LENGTH or "\0" in words:
        raise InvalidError(
            f"guidelines have 1 to {MAX_LENGTH} characters", hint="write some Markdown"
        )
    newest = session.scalar(select(Guideline).order_by(Guideline.id.desc()).limit(1))
    if newest is not None and newest.text == words:
        return newest.id
    made = Guideline(text=words, author_id=author, created=now())
    session.add(made)
    session.flush()
    return made.id


def render_markdown(text: str) -> str:
    r"""Markdown as HTML in which nothing runs and nothing is loaded: no scripts, no images.

    >>> render_markdown("**see** <img src=x onerror=alert(1)> [here](javascript:alert(1))")
    '<p><strong>see</strong> &lt;img src=x onerror=alert(1)&gt; [here](javascript:alert(1))</p>'
    """
    html = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).render(text)
    clean = nh3.clean(
        html, tags=_TAGS, attributes={"a": {"href"}}, url_schemes={"http", "https", "mailto"}
    )
    return clean.strip()
