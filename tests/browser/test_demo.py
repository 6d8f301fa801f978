"""The demo page in a browser: point, outline, ask, go on asking; how students learned and did."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from playwright.sync_api import Page, Request, expect

from db.store.session import Store
from student.benchmarks.evaluate import evaluate
from student.settings import TrainSettings
from student.training.train import train
from tests.student.conftest import keep_all

HOSTILE = "<img src=x onerror=alert(1)> of [0]?"


@pytest.fixture
def shown(visit: Callable[..., Page], demo_store: Store, tmp_path: Path) -> Page:
    """The page with two students, of which the newer one has been on a benchmark."""
    keep_all(demo_store)
    for kind in ("discriminative", "generative"):
        settings = TrainSettings(
            release="all", kind=kind, steps=4, batch_size=8, base_steps=4, eval_every=2
        )
        train(demo_store, settings)
    (tmp_path / "val2017").mkdir()
    Pillow.new("RGB", (40, 40)).save(tmp_path / "val2017" / f"{1:012}.jpg")
    knows = {"image_id": 1, "choices": ["a", "b"]}
    told = [
        {**knows, "question_id": str(n), "question": f"{HOSTILE} {n}", "correct_choice_idx": n % 2}
        for n in range(4)
    ]
    (tmp_path / "aokvqa_v1p0_val.json").write_text(json.dumps(told), "utf-8")
    evaluate(demo_store, None, "aokvqa", tmp_path)
    page = visit("/demo/")
    page.locator(".canvas img").wait_for()
    return page


def click(page: Page, x: float, y: float) -> None:
    frame = page.locator(".canvas .frame").bounding_box()
    assert frame is not None
    page.mouse.click(frame["x"] + frame["width"] * x, frame["y"] + frame["height"] * y)


def ask(page: Page, question: str, turn: int) -> None:
    page.get_by_label("question").fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.locator(".talk small", has_text="student-").nth(turn).wait_for()


def test_selecting_regions_asking_and_the_panels_below(shown: Page) -> None:
    """One visit: two students are trained for it."""
    talks(shown)
    takes_another(shown)
    shows_how_they_learned_and_did(shown)


def talks(shown: Page) -> None:
    asked: list[Any] = []

    def note(sent: Request) -> None:
        if sent.url.endswith("/api/ask"):
            asked.append(sent.post_data_json)

    shown.on("request", note)
    click(shown, 0.4, 0.3)
    expect(shown.locator(".about .chip")).to_have_text("0")
    ask(shown, HOSTILE, 0)
    expect(shown.locator(".asked .words").first).to_contain_text("<img src=x")
    assert not shown.locator(".talk img").count()
    shown.get_by_role("button", name="Draw an outline").click()
    for corner in ((0.6, 0.6), (0.8, 0.6), (0.7, 0.85)):
        click(shown, *corner)
        shown.wait_for_timeout(350)  # two clicks at once are a double click
    shown.get_by_role("button", name="Finish the outline").click()
    expect(shown.locator(".about .chip")).to_have_count(2)
    ask(shown, "And why is [0] there?", 1)
    first, second = asked
    assert first["turns"] == []
    assert second["turns"][0][0] == HOSTILE
    outline = second["regions"][-1]["polygons"]
    assert [len(ring) for ring in outline] == [3]
    shown.get_by_role("button", name="Start over").click()
    assert not shown.locator(".talk > div").count()
    assert not shown.locator(".about .chip").count()


def shows_how_they_learned_and_did(shown: Page) -> None:
    expect(shown.locator(".legend label")).to_have_count(2)
    expect(shown.locator(".losses g.run")).to_have_count(2)
    shown.locator(".legend input").first.uncheck()
    expect(shown.locator(".losses g.run").first).to_be_hidden()
    expect(shown.locator(".examples tbody tr")).to_have_count(3)
    table = shown.locator(".measured .table")
    expect(table).to_contain_text("BLIP-2 ViT-G + LSKD (paper)")
    expect(table.locator("tr", has_text="student-2")).to_contain_text("50.0 [")
    expect(shown.locator(".errors")).to_contain_text("2 of 4 items have errors.")
    expect(shown.locator(".errors tbody tr")).to_have_count(2)
    expect(shown.locator(".errors td").nth(1)).to_contain_text("<img src=x onerror")
    assert not shown.locator(".errors img[src=x]").count()
    pictures = shown.locator(".errors img")
    expect(pictures).to_have_count(2)
    assert pictures.first.evaluate("image => image.naturalWidth") == 40


def takes_another(shown: Page) -> None:
    expect(shown.locator(".status")).to_contain_text("student-2")
    shown.get_by_label("student", exact=True).select_option("student-1")
    expect(shown.locator(".status")).to_contain_text("tiny, discriminative")
    click(shown, 0.4, 0.3)
    shown.get_by_role("button", name="Suggest a question").click()
    shown.locator(".talk small", has_text="student-1").wait_for()
