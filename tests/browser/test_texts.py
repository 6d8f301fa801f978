"""Every page in every language, with data on it, shows no raw value of Python or JavaScript."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page
from sqlalchemy import select

from annotator.accounts import accounts, sessions
from annotator.crowd import flags, gold, studies
from annotator.pages import shell
from critic.settings import TrainSettings as CriticSettings
from critic.training.train import train as train_critic
from db.demo.simulated_annotators import simulate_votes
from db.labelling.batches import QualityPolicy, make_batch
from db.schema import Batch, Person
from db.store import queries
from db.store.session import Store
from generation.verbalize.describers.annotations import Annotations
from generation.verbalize.run import verbalize
from student.settings import TrainSettings as StudentSettings
from student.training.train import train as train_student
from tests.browser.steps import close_dialog
from tests.conftest import copy_of
from tests.student.conftest import keep_all

Visit = Callable[..., Page]
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


@pytest.fixture(scope="module")
def full_store_file(demo_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo project in which every panel of every page has something to show."""
    folder = tmp_path_factory.mktemp("full")
    with copy_of(demo_store_file, folder) as store:
        fill(store)
    return folder / "store.db"


@pytest.fixture
def demo_store(full_store_file: Path, tmp_path: Path) -> Iterator[Store]:
    with copy_of(full_store_file, tmp_path) as store:
        yield store


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


def check_texts(page: Page) -> None:
    text = page.evaluate(PAGE_TEXT)
    assert len(text) > 100
    assert [text[m.start() - 40 : m.end() + 40] for m in RAW_VALUE.finditer(text)] == []


def use_annotate(page: Page) -> None:
    page.locator("[data-do=accept]").wait_for()
    page.keyboard.press("a")
    for key in ("h", "g", "?"):
        page.keyboard.press(key)
        page.locator("dialog[open]").wait_for()
        close_dialog(page)


def use_adjudicate(page: Page) -> None:
    page.locator(".votes li").first.wait_for()
    page.keyboard.press("a")
    page.locator(".message:not(:empty)").wait_for()


def use_project(page: Page) -> None:
    page.locator(".annotators td").first.wait_for()
    page.locator("select[name=batch]").select_option("crowd")
    page.wait_for_timeout(300)


def use_people(page: Page) -> None:
    page.locator(".studies summary").first.click()


def use_generate(page: Page) -> None:
    page.locator(".messages pre").first.wait_for()
    page.locator("[name=model]").fill("gpt-4o-mini")
    page.locator("[data-do=estimate]").click()
    page.locator(".message:not(:empty)").wait_for()


def use_critic(page: Page) -> None:
    page.locator(".plot svg").wait_for()
    page.locator("[data-do=release]").click()
    page.locator("dialog.release [name=name]").fill("pilot")
    page.locator("dialog.release button[type=submit]").click()
    page.locator(".releases td").first.wait_for()
    page.locator("form.certify button").click()
    page.locator(".certified:not(:empty)").wait_for()
    page.locator("[data-do=compare]").click()
    page.locator(".compared td").first.wait_for()
    page.locator(".purpose").first.wait_for()


def use_demo(page: Page) -> None:
    page.locator(".canvas img").wait_for()
    page.locator(".errors, .wrong p").first.wait_for()
    frame = page.locator(".canvas .frame").bounding_box()
    assert frame is not None
    page.mouse.click(frame["x"] + frame["width"] * 0.4, frame["y"] + frame["height"] * 0.3)
    page.locator("[data-do=self]").click()
    page.locator(".talk small", has_text="student-1").wait_for()


USE: dict[str, Callable[[Page], None]] = {
    "annotate": use_annotate,
    "adjudicate": use_adjudicate,
    "project": use_project,
    "people": use_people,
    "generate": use_generate,
    "critic": use_critic,
    "demo": use_demo,
}


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("name", shell.PAGES)
def test_no_page_shows_a_raw_value(visit: Visit, name: str, locale: str) -> None:
    page = visit(f"/{name}/?simulated=true", locale=locale)
    page.locator(".lskd").wait_for()
    USE[name](page)
    check_texts(page)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("path", ["/login", "/invite/none", "/join/none"])
def test_no_sign_in_page_shows_a_raw_value(visit: Visit, path: str, locale: str) -> None:
    page = visit(path, locale=locale)
    text = page.evaluate(PAGE_TEXT)
    assert RAW_VALUE.search(text) is None


@pytest.mark.parametrize(
    "text", ["{'slope': 0.0}", "kept None", "[object Object]", "precision NaN", "undefined votes"]
)
def test_a_raw_value_would_be_found(visit: Visit, text: str) -> None:
    page = visit("/people/")
    page.locator(".accounts td").first.wait_for()
    page.locator(".accounts td").first.evaluate("(cell, text) => { cell.title = text; }", text)
    with pytest.raises(AssertionError):
        check_texts(page)
