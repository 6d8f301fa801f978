"""Guidelines for annotators: Markdown written by a researcher; every version is kept."""

from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, slots=True)
class Guidelines:
    """A version of the guidelines as Markdown and as safe HTML; id None: the built-in text."""

    id: int | None
    text: str
    html: str


def current_guidelines(session: Session) -> Guidelines:
    """The newest version, or the built-in text."""
    newest = _newest(session)
    text = newest.text if newest is not None else _DEFAULT.read_text("utf-8")
    return Guidelines(newest.id if newest is not None else None, text, render_markdown(text))


def save_guidelines(session: Session, text: str, author: int) -> int:
    """Save a new version; returns its id, or the newest one's if the text has not changed."""
    stripped = text.strip()
    if not stripped or len(stripped) > MAX_LENGTH or "\0" in stripped:
        raise InvalidError(f"guidelines must have 1 to {MAX_LENGTH:,} characters")
    newest = _newest(session)
    if newest is not None and newest.text == stripped:
        return newest.id
    version = Guideline(text=stripped, author_id=author, created=now())
    session.add(version)
    session.flush()
    return version.id


def render_markdown(text: str) -> str:
    r"""Render Markdown as HTML without scripts, images or any other active content.

    >>> render_markdown("**see** <img src=x onerror=alert(1)> [here](javascript:alert(1))")
    '<p><strong>see</strong> &lt;img src=x onerror=alert(1)&gt; [here](javascript:alert(1))</p>'
    """
    html = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).render(text)
    clean = nh3.clean(
        html, tags=_TAGS, attributes={"a": {"href"}}, url_schemes={"http", "https", "mailto"}
    )
    return clean.strip()


def _newest(session: Session) -> Guideline | None:
    return session.scalar(select(Guideline).order_by(Guideline.id.desc()).limit(1))
