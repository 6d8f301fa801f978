"""The critic page in a real browser: threshold, groups, certification, training, releases."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from critic.settings import TrainSettings
from critic.training.train import train
from db.demo.simulated_annotators import simulate_votes
from db.schema import Batch, BatchItem, Image, ImageRegion, Release, Retraining, Triple, Vote
from db.store.session import Store
from tests.conftest import copy_of

HOSTILE = '<img src=x onerror="window.hacked = 1">'


@pytest.fixture(scope="module")
def trained_store_file(demo_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two critics, and a third of the triples without a vote."""
    folder = tmp_path_factory.mktemp("trained")
    with copy_of(demo_store_file, folder) as store:
        with store.write() as session:
            session.get_one(Triple, 5).rationale = HOSTILE
        simulate_votes(store, accuracies=[0.95, 0.9, 0.9])
        train(store, TrainSettings(simulated=True, resamples=50, kind="text"))
        train(store, TrainSettings(simulated=True, resamples=50))
        with store.write() as session:
            free = session.scalars(select(Triple.id).where(Triple.id % 3 == 0)).all()
            session.query(Vote).filter(Vote.triple_id.in_(free)).delete()
            session.query(BatchItem).filter(BatchItem.triple_id.in_(free)).delete()
    return folder / "store.db"


@pytest.fixture
def demo_store(trained_store_file: Path, tmp_path: Path) -> Iterator[Store]:
    with copy_of(trained_store_file, tmp_path) as store:
        yield store


@pytest.fixture
def page(visit: Callable[..., Page]) -> Page:
    page = visit("/critic/", height=900)
    page.locator(".plot svg").wait_for()
    return page


def set_threshold(page: Page, share: float) -> None:
    plot = page.locator(".plot")
    plot.focus()
    page.keyboard.press("Home")
    for _ in range(round(share * 10)):
        page.keyboard.press("PageUp")
    expect(plot).to_have_attribute("aria-valuenow", f"{share:g}")


def test_slices_follow_the_threshold(page: Page) -> None:
    page.get_by_label("group by").select_option("kind")
    rows = page.locator(".slices tr")
    expect(rows.first).to_contain_text("Share of kept")
    expect(page.locator(".slices")).to_contain_text("intent")
    before = page.locator(".slices").inner_text()
    set_threshold(page, 0.8)
    expect(page.locator(".slices")).not_to_have_text(before)


def test_critics_are_selected_and_compared(page: Page) -> None:
    expect(page.locator(".status")).to_contain_text("critic-2")
    page.get_by_label("critic", exact=True).select_option("critic-1")
    expect(page.locator(".status")).to_contain_text("critic-1")
    page.get_by_role("button", name="Compare", exact=True).click()
    compared = page.locator(".compared")
    expect(compared).to_contain_text("a random choice")
    expect(compared.locator("tr")).to_have_count(4)
    expect(page.locator(".history .dot")).to_have_count(2)
    expect(page.locator(".calibration .dot")).not_to_have_count(0)


def test_a_certified_threshold_is_applied_or_the_missing_labels_are_stated(
    page: Page, demo_store: Store
) -> None:
    expect(
        page.get_by_text("A threshold chosen on the curve may not reach the precision it shows")
    ).to_be_visible()
    page.get_by_label("Minimum precision").fill("0.99")
    page.get_by_role("button", name="Find the lowest threshold").click()
    expect(page.locator(".certified")).to_contain_text("No threshold can be certified")
    expect(page.get_by_role("button", name="Release with this threshold…")).to_be_hidden()
    page.get_by_label("Minimum precision").fill("0.2")
    page.get_by_label("Confidence").fill("0.6")
    page.get_by_role("button", name="Find the lowest threshold").click()
    expect(page.locator(".certified")).to_contain_text("precision of at least 0.2")
    page.get_by_role("button", name="Release with this threshold…").click()
    dialog = page.locator("dialog.release")
    expect(dialog.locator(".limits")).to_be_hidden()
    dialog.get_by_label("Name").fill("certain")
    dialog.get_by_role("button", name="Release", exact=True).click()
    expect(page.locator(".message")).to_contain_text("Released as certain")
    with demo_store.read() as session:
        made = session.scalars(select(Release)).one()
        assert made.selection["guarantee"]["target"] == 0.2


def test_triples_are_sent_to_annotators(page: Page, demo_store: Store) -> None:
    set_threshold(page, 0.3)
    expect(page.locator(".next")).to_have_attribute("data-threshold", "0.3")
    send = page.locator(".purpose").first.get_by_role("button")
    expect(page.locator(".purpose").first).to_contain_text("precision ±")
    expect(send).to_be_enabled()
    count = int(send.inner_text().split()[1])
    send.click()
    expect(page.locator(".message")).to_contain_text(
        f"Sent {count} triples to annotators in the batch estimate 1"
    )
    expect(send).to_be_disabled()
    with demo_store.read() as session:
        batch = session.scalars(select(Batch).where(Batch.name.startswith("estimate 1"))).one()
        assert batch.selection["score_from"] == 0.3


def test_training_in_the_background_and_automatic_retraining(page: Page, demo_store: Store) -> None:
    page.get_by_label("Retrain every N new votes").fill("50")
    page.get_by_role("button", name="Turn on").click()
    expect(page.locator(".retraining")).to_contain_text("after every 50 new votes; 0 since")
    with demo_store.read() as session:
        assert session.scalars(select(Retraining)).one().every == 50
    page.get_by_role("button", name="Turn off").click()
    expect(page.locator(".retraining")).to_contain_text("Automatic training is off.")
    page.locator(".kind").select_option("text")
    page.get_by_role("button", name="Train", exact=True).click()
    # The page stays in use meanwhile.
    set_threshold(page, 0.5)
    expect(page.locator(".status")).to_contain_text("critic-3")


def test_releases_are_limited_compared_and_have_a_card(page: Page, demo_store: Store) -> None:
    set_threshold(page, 0.2)
    for name, limit in (("wide", ""), ("narrow", "2")):
        page.get_by_role("button", name="Release…", exact=True).click()
        dialog = page.locator("dialog.release")
        dialog.get_by_label("Name").fill(name)
        dialog.get_by_label("Note").fill(HOSTILE)
        dialog.get_by_label("per image").fill(limit)
        dialog.get_by_role("button", name="Release", exact=True).click()
        expect(page.locator(".message")).to_contain_text(f"Released as {name}")
    for box in page.locator(".releases input").all():
        box.check()
    page.get_by_role("button", name="Compare selected").click()
    expect(page.locator(".release-comparison")).to_contain_text("kept by narrow only: 0")
    page.get_by_role("button", name="Show", exact=True).first.click()
    card = page.locator("dialog.card-text pre")
    expect(card).to_contain_text("Limited to at most 2 triples per image.")
    expect(card).to_contain_text(HOSTILE)
    page.get_by_role("button", name="Close").click()
    assert page.evaluate("window.hacked") is None
    with demo_store.read() as session:
        images = session.scalars(select(Image.id)).all()
        assert session.scalars(select(ImageRegion)).first()
        narrow = session.scalars(select(Release).where(Release.name == "narrow")).one()
        assert narrow.kept <= 2 * len(images)
