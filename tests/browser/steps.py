"""Steps that browser tests share."""

from playwright.sync_api import Page, expect
from sqlalchemy import select

from db.schema import Vote
from db.store.session import Store

HOSTILE = (
    '<img src=x onerror="window.bad=1"><script>window.bad=1</script><svg onload="window.bad=1">'
    '<form action="https://evil.example"><button>x</button></form>'
    '<style>@import "https://evil.example/x.css";</style><iframe src="https://evil.example">'
    '</iframe><a href="javascript:window.bad=1">x</a>'
    "${window.bad=1}{{window.bad=1}}{{#each value}}x{{/each}}<%= window.bad=1 %>"
    "![x](https://evil.example/x.png)\x07\x1b[31m\u202e [0]"
)
"""What would run a script or load something if it were inserted as HTML or as a template."""


def ready(page: Page) -> Page:
    page.get_by_role("button", name="Accept").wait_for()
    return page


def votes(store: Store) -> list[Vote]:
    with store.read() as session:
        return list(session.scalars(select(Vote).order_by(Vote.id)))


def saved(page: Page) -> None:
    """Wait until no vote is unsent. A key that was ignored leaves nothing to wait for."""
    page.wait_for_function(
        "Object.keys(localStorage).every((name) => !name.startsWith('lskd-outbox:'))"
    )


def close_dialog(page: Page) -> None:
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)


def question(page: Page) -> str:
    return page.locator(".words.question").inner_text()
