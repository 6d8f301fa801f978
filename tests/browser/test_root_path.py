"""The app below a path of a site, behind nginx."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from annotator.accounts import sessions
from annotator.pages import shell
from annotator.web import app
from db.store.session import Store
from tests.browser.conftest import TIMEOUT_MS
from tests.browser.steps import ready, saved, votes
from tests.nginx import proxied

PASSWORD = "correct horse"


@pytest.fixture
def site(demo_store: Store, tmp_path: Path) -> Iterator[str]:
    with demo_store.write() as session:
        sessions.add_person(session, "ada", "admin", PASSWORD)
    built = app.build(demo_store, trusted_proxies=["127.0.0.1"], root_path="/lskd")
    with proxied(built, tmp_path, "/lskd") as proxy:
        yield proxy.https


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(ignore_https_errors=True)
    context.set_default_timeout(TIMEOUT_MS)
    yield context.new_page()
    context.close()


def test_every_page_works_below_a_path(site: str, page: Page, demo_store: Store) -> None:
    failed: list[str] = []

    def check(response: Response) -> None:
        if response.status >= 400 or not response.url.startswith(f"{site}/lskd/"):
            failed.append(f"{response.status} {response.url}")

    page.on("response", check)
    page.goto(f"{site}/lskd/")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    ready(page)
    expect(page.locator(".canvas img")).to_be_visible()
    page.keyboard.press("a")
    ready(page)
    saved(page)
    assert len(votes(demo_store)) == 1
    for title in list(shell.PAGES.values())[1:]:
        page.get_by_role("navigation").get_by_role("link", name=title, exact=True).click()
        expect(page).to_have_title(f"{title} · LSKD Studio")
        page.locator(".lskd .status").wait_for(state="attached")
        page.locator(".account a").wait_for()
        page.wait_for_load_state("networkidle")
    assert failed == []
    page.locator(".account a").click()
    page.get_by_role("link", name="Back").click()
    ready(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{site}/lskd/login")
    assert page.context.cookies(f"{site}/other") == []
