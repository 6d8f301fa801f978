"""Qualification, pauses, languages, tabs, offline work, studies, adjudication, project page."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect
from sqlalchemy import select

from annotator.accounts import sessions
from annotator.crowd import gold
from annotator.labelling.leases import LeaseHolder
from annotator.labelling.queue import Queue
from annotator.labelling.votes import VoteInput
from db.demo.simulated_annotators import simulate_votes
from db.labelling.batches import QualityPolicy, make_batch
from db.schema import Adjudication, Flag, Triple
from db.store.session import Store
from tests.browser.steps import HOSTILE, close_dialog, question, ready, saved, votes

Visit = Callable[..., Page]


def test_history_shows_and_corrects_votes(visit: Visit, demo_store: Store) -> None:
    page = ready(visit("/annotate/"))
    page.keyboard.press("a")
    saved(page)
    page.keyboard.press("h")
    row = page.locator("dialog.history article")
    expect(row).to_have_count(1)
    row.locator("select").select_option("reject:trivial")
    expect(row).to_have_class("changed")
    close_dialog(page)
    first, second = votes(demo_store)
    assert (second.decision, second.reasons, second.replaces) == ("reject", ["trivial"], first.id)


def test_a_flag_has_a_note(visit: Visit, demo_store: Store) -> None:
    page = ready(visit("/annotate/"))
    page.keyboard.press("f")
    page.locator("dialog.flag textarea").fill("The picture is <b>upside</b> down.")
    page.locator("dialog.flag button[type=submit]").click()
    expect(page.locator(".message")).to_have_text("Flagged")
    with demo_store.read() as session:
        assert session.scalars(select(Flag.note)).all() == ["The picture is <b>upside</b> down."]


def test_guidelines_open_by_key_and_are_recorded_with_the_vote(
    visit: Visit, demo_store: Store
) -> None:
    page = visit("/project/")
    page.get_by_role("button", name="Guidelines").click()
    page.locator("dialog.guidelines textarea").fill("# Mine\n\nLook *twice*.")
    page.get_by_role("button", name="Save as new version").click()
    expect(page.locator("dialog.guidelines")).to_be_hidden()
    page = ready(visit("/annotate/"))
    page.keyboard.press("g")
    expect(page.locator("dialog.guidelines").get_by_role("heading", name="Mine")).to_be_visible()
    close_dialog(page)
    page.keyboard.press("a")
    saved(page)
    assert votes(demo_store)[0].guideline_id == 1


@pytest.mark.parametrize(("key", "dialog"), [("g", "guidelines"), ("h", "history")])
def test_no_key_is_a_vote_while_a_dialog_loads(
    visit: Visit, demo_store: Store, key: str, dialog: str
) -> None:
    page = ready(visit("/annotate/"))
    unanswered: list[Route] = []

    def hold(route: Route) -> None:
        unanswered.append(route)

    page.route(re.compile(f"/api/{dialog}"), hold)
    page.keyboard.press(key)
    page.keyboard.press("a")
    expect(page.locator(f"dialog.{dialog}")).to_be_visible()
    while not unanswered:  # the dialog opens before its request arrives here
        page.wait_for_timeout(20)
    unanswered[0].abort()
    expect(page.locator(f"dialog.{dialog} .alarm")).not_to_be_empty()
    close_dialog(page)
    assert votes(demo_store) == []
    page.keyboard.press("a")
    saved(page)
    assert len(votes(demo_store)) == 1


def test_an_annotator_sets_keys_and_language(visit: Visit, demo_store: Store) -> None:
    page = ready(visit("/annotate/"))
    page.keyboard.press("?")
    page.locator(".settings [name=accept]").fill("j")
    page.locator(".settings [name=language]").select_option("de")
    page.locator(".settings button[type=submit]").click()
    expect(page.get_by_role("button", name="Annehmen")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    page.keyboard.press("a")  # no longer assigned
    page.keyboard.press("j")
    saved(page)
    assert [vote.decision for vote in votes(demo_store)] == ["accept"]


def test_two_tabs_show_two_triples_and_lose_nothing(visit: Visit, demo_store: Store) -> None:
    first = ready(visit("/annotate/"))
    second = first.context.new_page()
    second.goto(first.url)
    ready(second)
    assert question(first) != question(second)
    for _ in range(3):
        first.keyboard.press("a")
        second.keyboard.press("a")
    saved(first)
    assert len({vote.triple_id for vote in votes(demo_store)}) == 6


def test_a_minute_offline_is_reported_and_loses_no_vote(visit: Visit, demo_store: Store) -> None:
    page = visit("/annotate/")
    page.clock.install()
    page.reload()
    ready(page).context.set_offline(offline=True)
    for _ in range(3):
        page.keyboard.press("a")
    expect(page.locator(".saved")).to_have_text("Saving…")
    page.clock.run_for(60_000)
    expect(page.locator(".saved")).to_contain_text("3 unsent, kept in this browser")
    assert votes(demo_store) == []
    page.context.set_offline(offline=False)
    page.clock.run_for(5_000)
    saved(page)
    expect(page.locator(".saved")).to_have_text("✓ Saved")
    assert len(votes(demo_store)) == 3


@pytest.fixture
def practice(demo_store: Store) -> Store:
    """A batch with two training items, both to be rejected, and a minimum accuracy."""
    with demo_store.write() as session:
        for triple in (1, 2):
            gold.set_gold(session, triple, "reject", note="It is trivial.", is_training_item=True)
        ids = list(session.scalars(select(Triple.id).where(Triple.id.between(20, 40))))
        rng = np.random.default_rng(0)
        make_batch(
            session,
            "crowd",
            ids,
            votes_required=3,
            rng=rng,
            policy=QualityPolicy(qualification_items=2, min_gold_accuracy=0.9),
        )
    return demo_store


def test_training_items_give_feedback_and_a_failed_round_pauses(
    visit: Visit, practice: Store
) -> None:
    page = ready(visit("/annotate/?batch=crowd"))
    page.keyboard.press("a")
    feedback = page.locator(".feedback")
    expect(feedback).to_have_text("The last triple should be rejected. It is trivial.")
    page.keyboard.press("a")
    expect(page.locator(".empty h1")).to_have_text("Paused")
    expect(page.locator(".empty p")).to_contain_text("0 of 2 judgements")
    with practice.read() as session:
        assert len(gold.list_pauses(session)) == 1
    lead = visit("/project/")
    lead.get_by_role("button", name="Lift pause").click()
    expect(lead.get_by_role("button", name="Lift pause")).to_have_count(0)
    ready(visit("/annotate/?batch=crowd"))


def test_a_worker_joins_by_a_link_and_leaves_with_a_code(visit: Visit) -> None:
    page = visit("/people/")
    form = page.locator("form.study")
    form.locator("[name=name]").fill("pilot")
    form.locator("[name=quota]").fill("2")
    form.locator("[name=code]").fill("C0DE")
    form.get_by_role("button", name="Create study").click()
    page.locator(".studies summary", has_text="Other").click()
    link = page.locator(".studies details[open] code").inner_text().replace("…", "w1")
    worker = visit("/" + link.split("/", 3)[3])
    worker.get_by_role("link", name="Start").click()
    ready(worker)
    expect(worker.locator(".status")).to_contain_text("0 of 2")
    assert worker.locator("nav a:visible").all_inner_texts() == ["Annotate"]
    for _ in range(2):
        worker.keyboard.press("a")
    expect(worker.locator(".empty p")).to_have_text("Your completion code: C0DE")

    page.locator("details.workers summary").click()
    row = page.locator("details.workers tbody tr")
    expect(row).to_contain_text("w1")
    row.get_by_role("button", name="Release").click()
    expect(page.locator("details.workers[open] tbody tr button")).to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("link", name="Prolific: approve").click()
    assert download.value.path().read_text("utf-8") == "w1\n"


def test_a_person_chooses_a_new_password_by_an_admins_link(visit: Visit, demo_store: Store) -> None:
    with demo_store.write() as session:
        sessions.add_person(session, "lead", "admin", "long enough")
        sessions.add_person(session, "berta", "annotator", "long enough")
    page = visit("/people/")
    page.get_by_label("Name").fill("lead")
    page.get_by_label("Password").fill("long enough")
    page.get_by_role("button", name="Sign in").click()
    row = page.locator(".accounts tr", has_text="berta")
    row.get_by_role("button", name="Reset password").click()
    link = page.locator(".reset code").inner_text()
    berta = visit("/" + link.split("/", 3)[3])
    berta.get_by_label("New password").fill("longer than before")
    berta.get_by_role("button", name="Set password").click()
    ready(berta)
    berta.get_by_role("link", name="berta").click()
    expect(berta.get_by_role("button", name="Change password")).to_be_visible()


def test_adjudication_hides_names_until_the_decision(visit: Visit, demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=(0.9, 0.6, 0.6))
    page = visit("/adjudicate/?simulated=true")
    page.locator(".votes li").first.wait_for()
    assert "simulated 1" not in page.locator(".lskd main").inner_text()
    page.keyboard.press("r")
    page.keyboard.press("5")
    expect(page.locator(".message")).to_contain_text("Rejected. Votes: simulated")
    with demo_store.read() as session:
        assert session.scalars(select(Adjudication.reasons)).all() == [["trivial"]]
    page.keyboard.press("u")
    expect(page.locator(".message")).to_have_text("Undone")


def test_plots_respond_to_keyboard_and_pointer(visit: Visit, demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=(0.9, 0.8))
    page = visit("/project/?simulated=true")
    bar = page.locator(".hours .mark").first
    bar.focus()
    expect(page.locator(".hours output")).to_contain_text("314 votes")
    page.locator(".days .mark").first.hover()
    expect(page.locator(".days output")).to_contain_text(": 0.")


def test_a_hostile_name_is_only_a_wrong_one(visit: Visit) -> None:
    page = visit("/login?next=%22%3E%3Cscript%3Ewindow.bad%3D1%3C/script%3E")
    page.locator("[name=name]").fill(HOSTILE[:150])
    page.locator("[name=password]").fill("x")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("Wrong name or password.")
    assert page.evaluate("window.bad") is None


def test_a_batch_is_created_on_the_page_and_errors_are_explained(visit: Visit) -> None:
    page = visit("/project/")
    page.get_by_role("button", name="New batch").click()
    page.locator("dialog.new [name=name]").fill("second")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.locator("dialog.new .alarm")).to_contain_text("no triples match for a batch")
    page.locator("dialog.new [name=votes]").select_option("any")
    page.locator("dialog.new [name=size]").fill("10")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.locator(".batches")).to_contain_text("second")


def test_the_project_page_is_live_and_sends_votes_back(visit: Visit, demo_store: Store) -> None:
    queue, holder = Queue(demo_store), LeaseHolder(sessions.local_user(demo_store).id)
    for triple in (1, 2):
        queue.submit_vote(holder, "demo", triple, VoteInput(f"on {triple}", "reject", ["trivial"]))
    page = visit("/project/?batch=demo")
    judged = page.locator(".figures b").first
    expect(judged).to_have_text("2")

    # A vote appears by itself, and the focus stays on what the reader had.
    send_back = page.get_by_role("button", name="Send back…")
    send_back.focus()
    queue.submit_vote(holder, "demo", 3, VoteInput("on 3", "accept"))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(judged).to_have_text("3")
    expect(send_back).to_be_focused()

    send_back.click()
    dialog = page.locator("dialog.return")
    dialog.locator("[name=note]").fill("Look at [0] again.")
    dialog.locator("[name=triples]").fill("1, 2")
    dialog.get_by_role("button", name="Send back", exact=True).click()
    expect(page.locator(".done")).to_have_text("2 votes were sent back.")
    annotate = ready(visit("/annotate/"))
    expect(annotate.locator(".returned")).to_have_text(
        "Please judge this triple again: Look at [0] again."
    )
    for _ in range(2):
        annotate.keyboard.press("a")
    expect(annotate.locator(".returned")).to_be_hidden()

    page.get_by_role("button", name="Set…").click()
    page.locator("dialog.price [name=price]").fill("0.5")
    page.locator("dialog.price").get_by_role("button", name="Save").click()
    expect(page.locator(".cost tbody")).to_contain_text("1.50")

    with demo_store.read() as session:
        key = session.scalars(select(Triple.key).where(Triple.id == 3)).one()
    page.get_by_role("button", name="Import gold…").click()
    table = f"triple,decision\n{key},accept\nnone,accept\n".encode()
    page.locator("dialog.gold [name=file]").set_input_files(
        {"name": "gold.csv", "mimeType": "text/csv", "buffer": table}
    )
    page.locator("dialog.gold").get_by_role("button", name="Import").click()
    expect(page.locator(".done")).to_contain_text("1 triples are new gold. 1 rows were rejected:")
    expect(page.locator("table.confusion tbody")).to_contain_text("1/1")

    with page.expect_download() as download:
        page.locator("section[aria-label='votes per hour']").get_by_text("png").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    with page.expect_download() as download:
        page.locator("section[aria-label=batches]").get_by_text("csv").click()
    assert "demo" in download.value.path().read_text("utf-8")
