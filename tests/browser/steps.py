"""Steps that browser tests share."""

from playwright.sync_api import Page
from sqlalchemy import select

from db.schema import Vote
from db.store.session import Store


def ready(page: Page) -> Page:
    page.get_by_role("button", name="Accept").wait_for()
    return page


def votes(store: Store) -> list[Vote]:
    with store.read() as session:
        return list(session.scalars(select(Vote).order_by(Vote.id)))


def saved(page: Page) -> None:
    page.wait_for_function(
        "Object.keys(localStorage).every((name) => !name.startsWith('lskd-outbox:'))"
    )


def question(page: Page) -> str:
    return page.locator(".words.question").inner_text()
