"""The whole path of a newcomer: from `lskd app` on nothing to an answer about a clicked region.

With LSKD_SCREENSHOTS set to a folder, the pictures of the README are taken on the way.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import TIMEOUT_MS
from tests.browser.steps import ready, saved
from tests.servers import free_port

ROOT = Path(__file__).parent.parent.parent
TRAINING_MS = 10 * 60_000


def shoot(page: Page, name: str) -> None:
    if folder := os.environ.get("LSKD_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.png")


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[str]:
    """`lskd app` in an empty folder, as a newcomer starts it."""
    port = free_port()
    served = subprocess.Popen(
        [sys.executable, "-m", "lskd", "app", "--port", str(port)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            httpx.get(address + "/healthz")
            break
        except httpx.TransportError:
            time.sleep(0.1)
    yield address
    served.terminate()
    served.wait()


def test_from_nothing_to_an_answer_about_a_clicked_region(  # noqa: PLR0915 - a long way
    chromium: Browser, fresh: str
) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(fresh)

    # Label with the keyboard.
    ready(page)
    page.locator(".words .chip").first.hover()
    shoot(page, "annotate")
    for keys in ("a", "r4", "a", "r1", "s", "a"):
        for key in keys:
            page.keyboard.press(key)
        ready(page)
    saved(page)
    expect(page.locator(".status")).to_contain_text("5 of 157")

    # Too few votes yet: the page says how many are missing, and what can be done.
    page.get_by_role("link", name="Critic").click()
    # The page is made and its libraries are read now: that takes its time beside other tests.
    missing = page.locator(".empty")
    expect(missing).to_contain_text("35 more labelled triples")
    page.get_by_role("button", name="Let simulated annotators vote").click()
    page.get_by_role("button", name="Train on simulated votes").click()

    # Drag the threshold; figures and the list follow.
    plot = page.locator(".plot")
    plot.wait_for()
    expect(page.locator(".status")).to_contain_text("simulated votes")
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 120)
    page.mouse.up()
    expect(page.locator(".figures")).to_contain_text("precision")
    expect(page.locator(".around > button")).to_have_count(8)
    page.wait_for_timeout(600)
    shoot(page, "critic")

    # Release what it keeps.
    page.get_by_role("button", name="Release…").click()
    page.get_by_label("Name").fill("pilot")
    page.locator("dialog").get_by_role("button", name="Release", exact=True).click()
    expect(page.locator(".message")).to_contain_text("Released as pilot")

    # Train a small student on it, point at a region, and ask.
    page.get_by_role("link", name="Demo").click()
    page.get_by_role("button", name="Train a small student on pilot").click()
    page.locator(".canvas img").wait_for(timeout=TRAINING_MS)
    expect(page.locator(".status")).to_contain_text("answers will mostly be wrong")
    frame = page.locator(".canvas .frame").bounding_box()
    assert frame is not None
    page.mouse.click(frame["x"] + frame["width"] * 0.4, frame["y"] + frame["height"] * 0.3)
    expect(page.locator(".about .chip")).to_have_text("0")
    page.get_by_role("button", name="Suggest a question").click()
    page.locator(".talk small", has_text="student-1").wait_for()
    page.get_by_label("question").fill("What is [0] preparing for?")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.locator(".talk small", has_text="student-1").nth(1).wait_for()
    assert len(page.locator(".talk .words").all_inner_texts()) >= 4
    shoot(page, "demo")

    # What the lead sees meanwhile.
    page.goto(fresh + "/project/?simulated=true")
    expect(page.locator(".annotators")).to_contain_text("simulated 1")
    page.locator(".days .mark").hover()
    shoot(page, "project")
    page.goto(fresh + "/adjudicate/?simulated=true")
    page.locator(".votes li").first.wait_for()
    page.wait_for_timeout(500)
    shoot(page, "adjudicate")
    page.close()
