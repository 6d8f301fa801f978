"""What holds for every page, with data on it: layout, accessibility, languages, hostile texts.

One app and one browser context for each language serve all of these tests.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select, update

from annotator import languages
from annotator.accounts import accounts, sessions
from annotator.crowd import flags, gold
from annotator.pages import shell
from annotator.studies import studies
from annotator.web import app
from critic.settings import TrainSettings as CriticSettings
from critic.training.train import train as train_critic
from db.demo.simulated_annotators import simulate_votes
from db.labelling.batches import QualityPolicy, make_batch
from db.schema import Batch, Image, Person, Source, Triple, Verbalization
from db.store import queries
from db.store.session import Store
from generation.verbalize.describers.annotations import Annotations
from generation.verbalize.run import verbalize
from student.settings import TrainSettings as StudentSettings
from student.training.train import train as train_student
from tests.browser.conftest import Visitor
from tests.browser.steps import HOSTILE, close_dialog
from tests.conftest import copy_of
from tests.servers import serving
from tests.student.conftest import keep_all

LOCALES = ("en-US", "de-DE")
RAW_VALUE = re.compile(
    r"\{'|\[object |\b(None|True|False|nan|NaN|undefined|null|inf|Infinity)\b|<[\w.]+ object"
)

# The text of a page without what people and models wrote, and what attributes show or read out.
PAGE_TEXT = """() => {
    const root = document.querySelector(".lskd").cloneNode(true);
    const foreign = ".words, .messages, .examples td, .text, pre";
    for (const e of root.querySelectorAll(foreign)) e.remove();
    const texts = [root.textContent];
    for (const e of root.querySelectorAll("*"))
        for (const name of ["title", "alt", "aria-label", "aria-valuenow", "placeholder", "value"])
            if (e.hasAttribute(name)) texts.push(e.getAttribute(name));
    for (const e of document.querySelectorAll(".lskd :is(input, select)")) texts.push(e.value);
    return texts.join("\\n");
}"""


# Every control except radio buttons, which are reached by arrow keys.
USABLE = """() => [...document.querySelectorAll(
    ".lskd :is(a[href], button, input:not([type=radio]), select, textarea, summary, [tabindex='0'])"
)].filter((e) => e.checkVisibility({visibilityProperty: true}) && !e.disabled).map((e, n) => {
    e.dataset.n = n;
    return `${n} ${e.tagName} ${e.textContent.trim().slice(0, 30)}`;
})"""
FOCUSED = """() => {
    const e = document.activeElement, style = getComputedStyle(e);
    const seen = style.outlineStyle !== "none" || style.boxShadow !== "none";
    return [e.dataset.n ?? null, seen, e.outerHTML.slice(0, 120)];
}"""
# Every visible text that has a translation but is not translated.
UNTRANSLATED = """(words) => {
    const found = [], walker = document.createTreeWalker(
        document.querySelector(".lskd"), NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const text = walker.currentNode.data.trim();
        const isSeen = walker.currentNode.parentElement.checkVisibility();
        if (isSeen && words[text] && words[text] !== text) found.push(text);
    }
    return found;
}"""


@pytest.fixture(scope="module")
def full_store_file(demo_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo project in which every panel of every page has something to show."""
    folder = tmp_path_factory.mktemp("full")
    with copy_of(demo_store_file, folder) as store:
        fill(store)
    return folder / "store.db"


@contextmanager
def visiting(browser: Browser, store_file: Path, folder: Path) -> Iterator[Visitor]:
    """Visits an app over a copy of the store."""
    with copy_of(store_file, folder) as store, serving(app.build(store)) as address:
        visitor = Visitor(browser, address, share_contexts=True)
        yield visitor
        visitor.close()


@pytest.fixture(scope="module")
def visitor(
    chromium: Browser, full_store_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Visitor]:
    with visiting(chromium, full_store_file, tmp_path_factory.mktemp("visited")) as visitor:
        yield visitor


@pytest.fixture(scope="module")
def hostile_visitor(
    chromium: Browser, full_store_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Visitor]:
    """Visits an app in which every text of a model or a person is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    with copy_of(full_store_file, folder) as store:
        make_hostile(store)
    with visiting(chromium, folder / "store.db", tmp_path_factory.mktemp("visited")) as visitor:
        yield visitor


@pytest.fixture
def visit(visitor: Visitor) -> Iterator[Visitor]:
    yield visitor
    assert visitor.faults == []


def fill(store: Store) -> None:
    simulate_votes(store, accuracies=(0.9, 0.8, 0.6))
    verbalize(store, Annotations())
    keep_all(store)
    for kind in ("text", "baseline"):
        train_critic(store, CriticSettings(kind=kind, simulated=True, resamples=50))
    train_student(
        store, StudentSettings(release="all", steps=4, batch_size=8, base_steps=4, eval_every=2)
    )
    local = sessions.local_user(store)
    with store.write() as session:
        person = session.scalars(select(Person).where(Person.simulated)).first()
        assert person is not None
        flags.add_flag(session, person.id, 1, "The picture is upside down.")
        gold.set_gold(session, 2, "accept")
        gold.pause(
            session.connection(), person.id, queries.by_name(session, Batch, "demo").id, "Too fast."
        )
        policy = QualityPolicy(gold_rate=0.1, min_gold_accuracy=0.7)
        rng = np.random.default_rng(0)
        make_batch(session, "crowd", [3, 4, 5], votes_required=1, rng=rng, policy=policy)
        studies.create_study(session, "pilot", "demo", quota=2)
        accounts.create_invitation(session, "annotator", local.id, "Ada")
        accounts.create_token(session, local.id, "nightly")


def make_hostile(store: Store) -> None:
    with store.write() as session:
        person = session.scalars(select(Person).where(Person.simulated)).first()
        assert person is not None
        flags.add_flag(session, person.id, 1, HOSTILE)
        text = {"question": HOSTILE, "answer": HOSTILE, "rationale": HOSTILE}
        session.execute(update(Triple).values(**text, kind="<b>x", source=HOSTILE[:200]))
        session.execute(update(Image).values(title=HOSTILE, author=HOSTILE, licence=HOSTILE))
        session.execute(update(Verbalization).values(text=HOSTILE))
        session.execute(update(Person).where(Person.id == person.id).values(name=HOSTILE[:390]))
        session.execute(update(Source).values(name=HOSTILE[:200]))
        make_batch(session, HOSTILE[:150], [6, 7], votes_required=1, rng=np.random.default_rng(0))


def check_texts(page: Page) -> None:
    text = page.evaluate(PAGE_TEXT)
    assert len(text) > 100
    assert [text[m.start() - 40 : m.end() + 40] for m in RAW_VALUE.finditer(text)] == []


def use_annotate(page: Page) -> None:
    page.keyboard.press("a")
    for key in ("h", "g", "?"):
        page.keyboard.press(key)
        page.locator("dialog[open]").wait_for()
        close_dialog(page)


def use_adjudicate(page: Page) -> None:
    page.keyboard.press("a")
    page.locator(".message:not(:empty)").wait_for()


def use_project(page: Page) -> None:
    page.locator("select[name=batch]").select_option("crowd")
    page.wait_for_timeout(300)


def use_people(page: Page) -> None:
    page.locator(".studies summary").first.click()


def use_generate(page: Page) -> None:
    page.locator("[name=model]").fill("gpt-4o-mini")
    page.locator("[data-do=estimate]").click()
    page.locator(".message:not(:empty)").wait_for()


def use_critic(page: Page) -> None:
    page.locator("[data-do=release]").click()
    page.locator("dialog.release [name=name]").fill(
        page.locator("html").get_attribute("lang") or ""
    )
    page.locator("dialog.release button[type=submit]").click()
    page.locator(".releases td").first.wait_for()
    page.locator("form.certify button").click()
    page.locator(".certified:not(:empty)").wait_for()
    page.locator("[data-do=compare]").click()
    page.locator(".compared td").first.wait_for()
    page.locator(".purpose").first.wait_for()


def use_demo(page: Page) -> None:
    frame = page.locator(".canvas .frame").bounding_box()
    assert frame is not None
    page.mouse.click(frame["x"] + frame["width"] * 0.4, frame["y"] + frame["height"] * 0.3)
    page.locator("[data-do=self]").click()
    page.locator(".talk small", has_text="student-1").wait_for()


SHOWN = {
    "annotate": ["[data-do=accept]"],
    "adjudicate": [".votes li"],
    "project": [".annotators td"],
    "people": [".accounts td"],
    "generate": [".messages pre"],
    "critic": [".plot svg"],
    "demo": [".canvas img", ".errors, .wrong p"],
}
"""What is on a page once it has its data."""

USE: dict[str, Callable[[Page], None]] = {
    "annotate": use_annotate,
    "adjudicate": use_adjudicate,
    "project": use_project,
    "people": use_people,
    "generate": use_generate,
    "critic": use_critic,
    "demo": use_demo,
}


def open_page(visit: Visitor, name: str, locale: str = "en-US") -> Page:
    page = visit(f"/{name}/?simulated=true", locale=locale)
    page.locator(".lskd").wait_for()
    for selector in SHOWN[name]:
        page.locator(selector).first.wait_for()
    return page


def check_width(page: Page) -> None:
    """640 and 320 pixels are a window of 1280 at 200 % and 400 % zoom."""
    for width in (320, 375, 640, 1280, 2560):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width


@pytest.mark.parametrize("name", shell.PAGES)
def test_a_page_fits_is_accessible_and_shows_no_raw_value(visit: Visitor, name: str) -> None:
    page = open_page(visit, name)
    expect(page).to_have_title(f"{shell.PAGES[name]} · LSKD Studio")
    check_width(page)
    page.set_viewport_size({"width": 1280, "height": 800})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        rules = {"runOnly": ["wcag2a", "wcag2aa"]}
        found = Axe().run(page, context=".lskd", options=rules)
        assert found.response["violations"] == [], scheme
    USE[name](page)
    check_texts(page)
    page.close()


@pytest.mark.parametrize("name", shell.PAGES)
def test_tab_reaches_every_control_with_a_visible_focus(visit: Visitor, name: str) -> None:
    page = open_page(visit, name)
    usable = page.evaluate(USABLE)
    assert usable
    reached = set()
    for _ in range(2 * len(usable) + 20):
        page.keyboard.press("Tab")
        number, seen, what = page.evaluate(FOCUSED)
        if number is not None:
            assert seen, what
            reached.add(int(number))
    assert [name for n, name in enumerate(usable) if n not in reached] == []
    page.close()


@pytest.mark.parametrize("name", shell.PAGES)
def test_a_german_browser_gets_german_pages(visit: Visitor, name: str) -> None:
    page = open_page(visit, name, "de-DE")
    assert page.locator("html").get_attribute("lang") == "de"
    check_width(page)
    USE[name](page)
    assert page.evaluate(UNTRANSLATED, languages.translations("de")) == []
    check_texts(page)
    page.close()


@pytest.mark.parametrize("name", shell.PAGES)
def test_stored_texts_never_run_scripts_or_load_anything(
    hostile_visitor: Visitor, name: str
) -> None:
    page = open_page(hostile_visitor, name)
    if name == "annotate":
        page.keyboard.press("a")
        page.wait_for_timeout(200)
        page.keyboard.press("h")
        page.locator("dialog.history article").first.wait_for()
    page.wait_for_timeout(300)
    assert page.evaluate("window.bad") is None
    assert page.locator(".lskd form[action*=evil], .lskd iframe, .lskd img[src=x]").count() == 0
    assert hostile_visitor.faults == []
    page.close()


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("path", ["/login", "/invite/none", "/join/none"])
def test_no_sign_in_page_shows_a_raw_value(visit: Visitor, path: str, locale: str) -> None:
    page = visit(path, locale=locale)
    text = page.evaluate(PAGE_TEXT)
    assert RAW_VALUE.search(text) is None


@pytest.fixture(scope="module")
def people_page(visitor: Visitor) -> Page:
    page = visitor("/people/")
    page.locator(".accounts td").first.wait_for()
    return page


@pytest.mark.parametrize(
    "text", ["{'slope': 0.0}", "kept None", "[object Object]", "precision NaN", "undefined votes"]
)
def test_a_raw_value_would_be_found(people_page: Page, text: str) -> None:
    cell = people_page.locator(".accounts td").first
    cell.evaluate("(cell, text) => { cell.title = text; }", text)
    with pytest.raises(AssertionError):
        check_texts(people_page)
