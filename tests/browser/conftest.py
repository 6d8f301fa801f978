"""A real browser on a real app. Requests to other hosts fail the test."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Playwright,
    expect,
    sync_playwright,
)

from annotator.web import app
from db.store.session import Store
from tests.servers import serving

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
TIMEOUT_MS = 120_000
"""Far more than anything takes: other tests share the cores, and a test measures no time."""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("LSKD_TEST_ALL"):
            pytest.fail("Chromium is missing, and LSKD_TEST_ALL says that nothing may be skipped")
        pytest.skip("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        yield _launch(playwright)


def _launch(playwright: Playwright) -> Browser:
    expect.set_options(timeout=TIMEOUT_MS)
    return playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


class Visitor:
    """Opens pages of the app, each in a new browser context, or in one for each language.

    Pages of one context share the browser's cache, which saves most of the time of a visit.
    """

    def __init__(self, browser: Browser, address: str, *, share_contexts: bool = False) -> None:
        self._browser, self._address, self._share_contexts = browser, address, share_contexts
        self._contexts: list[BrowserContext] = []
        self._by_locale: dict[str, BrowserContext] = {}
        self.faults: list[str] = []
        """Script errors and requests to other hosts."""

    def __call__(
        self,
        path: str,
        *,
        width: int = 1280,
        height: int = 800,
        scheme: str = "light",
        locale: str = "en-US",
    ) -> Page:
        page = self._context(locale).new_page()
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.on("request", lambda request: self._check_host(request.url))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.goto(self._address + path)
        return page

    def _context(self, locale: str) -> BrowserContext:
        if self._share_contexts and locale in self._by_locale:
            return self._by_locale[locale]
        context = self._by_locale[locale] = self._browser.new_context(locale=locale)
        context.set_default_timeout(TIMEOUT_MS)
        self._contexts.append(context)
        return context

    def _check_host(self, url: str) -> None:
        if not url.startswith((self._address, "data:", "blob:")):
            self.faults.append(f"request to another host: {url}")

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def address(demo_store: Store) -> Iterator[str]:
    """The address of the app over a new demo project."""
    with serving(app.build(demo_store)) as address:
        yield address


@pytest.fixture
def visit(chromium: Browser, address: str) -> Iterator[Visitor]:
    """Opens a page of the app. Script errors and requests to other hosts fail the test."""
    visitor = Visitor(chromium, address)
    yield visitor
    visitor.close()
    assert visitor.faults == []
