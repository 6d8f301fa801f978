"""The generate page with a real HTTP server in place of a language model."""

import os
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import func, select, update

from db.schema import Call, Rejection, Triple, Verbalization
from db.store.session import Store
from generation.verbalize.describers.annotations import Annotations
from generation.verbalize.run import verbalize
from tests.generation.llm_server import Script, Serve

Visit = Callable[..., Page]


@pytest.fixture
def script(demo_store: Store, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Script:
    """The demo project with texts, and a server chosen by the environment."""
    verbalize(demo_store, Annotations())
    script = Script()
    monkeypatch.setenv("OPENAI_BASE_URL", serve(script))
    return script


def shoot(page: Page, name: str) -> None:
    if folder := os.environ.get("LSKD_SCREENSHOTS"):
        page.wait_for_timeout(500)
        page.screenshot(path=f"{folder}/{name}.png")


def ready(page: Page) -> Page:
    page.locator(".messages pre").first.wait_for()
    return page


def test_the_prompt_contains_the_texts_of_the_picture(visit: Visit, script: Script) -> None:
    page = ready(visit("/generate/"))
    text = page.locator(".texts li").first.locator("span").last.inner_text()
    expect(page.locator(".messages pre").last).to_contain_text(text)
    shoot(page, "generate")
    first = page.locator(".messages pre").last.inner_text()
    page.get_by_role("button", name="Another picture").click()
    expect(page.locator(".messages pre").last).not_to_have_text(first)
    page.locator("[name=task]").select_option("description")
    expect(page.locator(".messages pre").last).to_contain_text('"box"')
    assert script.requests.total() == 0


def test_the_page_works_in_german(visit: Visit, script: Script) -> None:
    page = ready(visit("/generate/", locale="de-DE"))
    page.locator("[name=model]").fill("gpt-4o-mini")
    page.get_by_role("button", name="Gesamtkosten schätzen").click()
    expect(page.locator(".message")).to_contain_text("36 Aufrufe, etwa")
    assert script.requests.total() == 0


def test_a_task_can_be_tried_on_one_picture(
    visit: Visit, script: Script, demo_store: Store
) -> None:
    page = ready(visit("/generate/"))
    page.get_by_role("button", name="Try on this picture").click()
    message = page.locator(".message")
    expect(message).to_have_text("Enter the model's name, e.g. gpt-4o-mini")
    page.locator("[name=model]").fill("gpt-4o-mini")
    page.get_by_role("button", name="Try on this picture").click()
    expect(page.locator(".output article")).to_have_count(3)
    expect(message).to_have_text("3 kept, 0 rejected")
    expect(page.locator(".runs tr")).to_have_count(2)
    assert script.requests.total() == 1
    with demo_store.read() as session:
        assert (
            session.scalar(select(func.count(Triple.id)).where(Triple.model == "gpt-4o-mini")) == 3
        )


def test_a_run_is_started_paused_and_resumed(
    visit: Visit, script: Script, demo_store: Store
) -> None:
    script.latency = 0.5
    page = ready(visit("/generate/"))
    page.locator("[name=model]").fill("gpt-4o-mini")
    page.locator("[name=samples]").fill("20")
    page.get_by_role("button", name="Estimate total cost").click()
    expect(page.locator(".message")).to_contain_text("240 calls")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Start")).to_be_visible()
    expect(page.locator(".runs")).to_contain_text("stopped by a user")
    paused = script.requests.total()
    assert paused < 240
    script.latency = 0.0
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".runs")).to_contain_text("done")
    expect(page.locator(".runs tr")).to_have_count(2)
    assert script.requests.total() == 240
    with demo_store.read() as session:
        assert session.scalar(select(func.count(Call.id))) == 240


def test_rejected_texts_are_shown_as_text_with_their_reason(
    visit: Visit, script: Script, demo_store: Store
) -> None:
    class Hostile(Script):
        def random_words(self, data: dict[str, object]) -> str:
            del data
            return '<img src=x onerror="window.bad=1"> caption'

    script.random_words = Hostile().random_words  # type: ignore[method-assign]
    with demo_store.write() as session:
        session.execute(update(Verbalization).values(text="<script>window.bad=1</script> [0]"))
    page = ready(visit("/generate/"))
    page.locator("[name=model]").fill("<b>gpt")
    page.get_by_role("button", name="Try on this picture").click()
    expect(page.locator(".output .rejection").first).to_contain_text("mentions its source")
    page.locator(".rejected summary").click()
    expect(page.locator(".rejected p").first).to_contain_text("<img src=x")
    assert page.evaluate("window.bad") is None
    with demo_store.read() as session:
        assert set(session.scalars(select(Rejection.reason))) == {"leak"}


def test_a_missing_api_key_is_shown_as_a_message(
    visit: Visit, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://models.example/v1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    page = ready(visit("/generate/"))
    page.locator("[name=model]").fill("m")
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".message")).to_contain_text("no API key for https://models.example/v1")
    assert script.requests.total() == 0
