"""The annotation page by keyboard, by mouse and offline; hostile text."""

from collections.abc import Callable

import pytest
from PIL import ImageColor
from playwright.sync_api import Page, expect
from sqlalchemy import select, update

from critic.settings import TrainSettings
from critic.training.train import train
from db.demo.simulated_annotators import simulate_votes
from db.schema import BatchItem, Image, Release, Triple
from db.store.session import Store
from regions import marks
from tests.browser.steps import question, ready, saved, votes

Visit = Callable[..., Page]


def test_keys_decide_with_one_hand(visit: Visit, demo_store: Store) -> None:
    page = ready(visit("/annotate/"))
    questions = [question(page)]
    for keys in (["a"], ["r", "4"], ["r", "r"], ["s"]):
        for key in keys:
            page.keyboard.press(key)
        questions.append(question(page))
    saved(page)
    assert len(set(questions)) == 5
    assert [(v.decision, v.reasons) for v in votes(demo_store)] == [
        ("accept", []),
        ("reject", ["unsupported"]),
        ("reject", []),
        ("skip", []),
    ]
    assert all(v.duration_ms is not None for v in votes(demo_store))
    expect(page.locator(".status")).to_contain_text("3 of 157")


def test_a_rejection_can_have_several_reasons(visit: Visit, demo_store: Store) -> None:
    page = ready(visit("/annotate/"))
    for key in ("r", "Shift+1", "Shift+3", "Enter"):
        page.keyboard.press(key)
    saved(page)
    assert votes(demo_store)[0].reasons == ["wrong_region", "wrong_answer"]


def test_undo_brings_the_last_item_back(visit: Visit, demo_store: Store) -> None:
    page = ready(visit("/annotate/"))
    first = question(page)
    page.keyboard.press("a")
    saved(page)
    page.keyboard.press("u")
    expect(page.locator(".message")).to_have_text("Undone")
    assert question(page) == first
    page.keyboard.press("r")
    page.keyboard.press("5")
    saved(page)
    assert [(v.decision, v.withdrawn is None) for v in votes(demo_store)] == [
        ("accept", False),
        ("reject", True),
    ]


def test_the_mouse_does_what_keys_do(visit: Visit, demo_store: Store) -> None:
    page = ready(visit("/annotate/"))
    page.get_by_role("button", name="Accept").click()
    page.get_by_role("button", name="trivial").click()
    saved(page)
    assert [v.decision for v in votes(demo_store)] == ["accept", "reject"]


def test_a_number_in_the_text_highlights_its_region(visit: Visit) -> None:
    page = ready(visit("/annotate/"))
    chip = page.locator(".words .chip").first
    number = chip.get_attribute("data-region")
    chip.hover()
    expect(page.locator(f".canvas g[data-region='{number}']")).to_have_class("strong on")
    page.mouse.move(5, 5)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".canvas g.on")).to_have_count(1)


BADGES = """badges => badges.map((badge) => {
    const {backgroundColor, color} = getComputedStyle(badge);
    return [badge.textContent, backgroundColor, color];
})"""


def test_numbers_have_the_colours_that_models_see(visit: Visit) -> None:
    page = ready(visit("/annotate/"))
    badges = page.locator(".canvas .badge").evaluate_all(BADGES)
    assert badges
    for number, background, text in badges:
        fill = marks.colour(int(number))
        assert background == "rgb({}, {}, {})".format(*ImageColor.getrgb(fill))
        assert text == "rgb({}, {}, {})".format(*ImageColor.getrgb(marks.ink(fill)))


def test_votes_given_offline_arrive_when_the_server_is_back(
    visit: Visit, demo_store: Store
) -> None:
    page = ready(visit("/annotate/"))
    page.context.set_offline(offline=True)
    page.keyboard.press("a")
    page.keyboard.press("a")
    assert votes(demo_store) == []
    page.context.set_offline(offline=False)
    saved(page)
    assert len(votes(demo_store)) == 2


def test_unsent_votes_survive_a_reload(visit: Visit, demo_store: Store) -> None:
    page = ready(visit("/annotate/"))
    page.route("**/api/votes", lambda route: route.abort())
    page.keyboard.press("a")
    page.on("dialog", lambda dialog: dialog.accept())
    page.unroute_all(behavior="ignoreErrors")
    page.reload()
    ready(page)
    saved(page)
    assert len(votes(demo_store)) == 1


def test_the_next_pictures_are_preloaded(visit: Visit) -> None:
    page = visit("/annotate/")
    with page.expect_response(lambda r: "/images/" in r.url):
        ready(page)
    page.wait_for_timeout(500)
    page.route("**/images/**", lambda route: route.abort())
    page.keyboard.press("a")
    page.keyboard.press("a")
    assert page.evaluate("document.querySelector('.canvas img').naturalWidth") > 0


HOSTILE = {
    "html": '<img src=x onerror="window.bad=1"><script>window.bad=1</script> [0]',
    "template": "${window.bad=1} {{window.bad=1}} {{#each value}}x{{/each}} [0]",
    "very long": "word " * 20_000 + "[0]",
    "no spaces": "w" * 100_000,
    "right to left": "\u202e\u05de\u05d4 [0] \u05e2\u05d5\u05e9\u05d4? \u0645\u0627\u0630\u0627",
    "not a reference": "[00] [-1] [999999999999999999] [[0]]",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_text_from_a_model_stays_text(visit: Visit, demo_store: Store, name: str) -> None:
    with demo_store.write() as session:
        first = session.scalars(select(BatchItem.triple_id).where(BatchItem.position == 0)).one()
        session.execute(
            update(Triple)
            .where(Triple.id == first)
            .values(question=HOSTILE[name], answer=HOSTILE[name], rationale=HOSTILE[name])
        )
    page = ready(visit("/annotate/"))
    shown = page.locator(".words.question").evaluate("e => e.textContent")
    assert shown == HOSTILE[name].replace("[0]", "0")
    assert page.evaluate("window.bad") is None
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator(".words img, .words script").count() == 0


def test_a_threshold_is_set_and_released_by_keyboard_alone(visit: Visit, demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=(0.9, 0.9, 0.9))
    train(demo_store, TrainSettings(simulated=True))
    page = visit("/critic/?simulated=true")
    page.locator(".plot").wait_for()

    def tab_to(what: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("what => document.activeElement.matches(what)", what):
                return
        pytest.fail(f"Tab does not reach {what}")

    tab_to(".plot, .plot *")
    before = page.locator(".figures").inner_text()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    expect(page.locator(".figures")).not_to_have_text(before)
    tab_to("button.release, .figures ~ button, button")
    page.wait_for_timeout(100)
    while page.evaluate("document.activeElement.textContent.trim()") != "Release…":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.type("by-keys")
    page.keyboard.press("Enter")
    expect(page.locator(".message")).to_contain_text("Released as by-keys")
    with demo_store.read() as session:
        assert session.scalars(select(Release.name)).all() == ["by-keys"]


def test_an_empty_store_says_what_to_do(visit: Visit, demo_store: Store) -> None:
    with demo_store.write() as session:
        session.query(BatchItem).delete()
        session.connection().exec_driver_sql("DELETE FROM batches")
    page = visit("/annotate/")
    expect(page.get_by_role("heading", name="Nothing to label yet")).to_be_visible()
    expect(page.locator(".empty")).to_contain_text("lskd import")


def test_a_picture_that_cannot_be_read_can_be_skipped(visit: Visit, demo_store: Store) -> None:
    with demo_store.write() as session:
        session.execute(update(Image).values(name=Image.name + ".gone"))
    page = ready(visit("/annotate/"))
    expect(page.locator(".canvas .unreadable")).to_contain_text("This picture cannot be shown")
    expect(page.locator(".canvas img")).to_have_count(0)
    page.keyboard.press("s")
    saved(page)
    assert [vote.decision for vote in votes(demo_store)] == ["skip"]
