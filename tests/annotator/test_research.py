"""Routes for researchers and scripts: statistics, guidelines, gold, adjudication, batches."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from annotator.accounts import sessions
from annotator.crowd import flags, guidelines
from annotator.labels.label_runs import make_labels
from annotator.labels.settings import LabelSettings
from db.demo.simulated_annotators import simulate_votes
from db.labelling.labels import majority_labels
from db.schema import BatchItem, Gold, Triple, Vote
from db.store.session import Store

Client = Callable[..., TestClient]


def vote(client: TestClient, triple: int, decision: str = "accept", **more: Any) -> None:  # noqa: ANN401 - of the body
    body = {"batch": "demo", "triple": triple, "decision": decision, **more}
    answer = client.post("/api/votes", json={"key": f"{id(client)}-{triple}-key", **body})
    assert answer.status_code == 200, answer.text


# ---- flags, history, corrections, preferences


def test_a_flag_reaches_the_adjudicator(signed_in: Client) -> None:
    ann, res = signed_in("ann"), signed_in("res")
    for _ in range(2):  # sent twice
        ann.post("/api/flags", json={"triple": 3, "note": "the picture is upside down"})
    pending = res.get("/api/research/adjudication").json()
    assert pending["waiting"] == 1
    assert pending["triples"][0]["triple"] == 3
    assert pending["triples"][0]["flags"] == ["the picture is upside down"]


@pytest.mark.parametrize("note", ["", " ", "x" * 2001])
def test_a_flag_needs_a_valid_note(signed_in: Client, note: str) -> None:
    answer = signed_in("ann").post("/api/flags", json={"triple": 3, "note": note})
    assert "a flag needs a note" in answer.json()["error"]


def test_history_shows_ones_own_votes_newest_first(signed_in: Client) -> None:
    ann, res = signed_in("ann"), signed_in("res")
    for triple in (1, 2, 3):
        vote(ann, triple)
    vote(res, 4)
    page = ann.get("/api/history", params={"batch": "demo", "limit": 2}).json()
    assert [row["item"]["triple"] for row in page] == [3, 2]
    after = {"batch": "demo", "before": page[-1]["id"]}
    assert [row["item"]["triple"] for row in ann.get("/api/history", params=after).json()] == [1]


def test_a_correction_replaces_the_vote_in_history(signed_in: Client) -> None:
    ann = signed_in("ann")
    vote(ann, 1, key="first-version")
    body = {"replaces": "first-version", "key": "second-version"}
    ann.post("/api/corrections", json={**body, "decision": "reject", "reasons": ["trivial"]})
    (row,) = ann.get("/api/history", params={"batch": "demo"}).json()
    assert (row["decision"], row["reasons"], row["can_change"]) == ("reject", ["trivial"], True)


def test_preferences_are_stored_and_validated(signed_in: Client) -> None:
    ann = signed_in("ann")
    kept = ann.put("/api/me/preferences", json={"language": "de", "keys": {"accept": "J"}}).json()
    assert (kept["language"], kept["keys"]["accept"]) == ("de", "j")
    assert ann.get("/api/me").json()["preferences"] == kept
    for body, message in (
        ({"language": "xx"}, "no language 'xx'"),
        ({"keys": {"accept": "r"}}, "two actions have the same key"),
        ({"keys": {"accept": "7"}}, "cannot be a key"),
        ({"keys": {"fly": "x"}}, "no action 'fly'"),
    ):
        assert message in ann.put("/api/me/preferences", json=body).json()["error"]


# ---- guidelines


def test_guidelines_have_versions_and_no_active_content(signed_in: Client) -> None:
    ann, res = signed_in("ann"), signed_in("res")
    assert ann.get("/api/guidelines").json()["id"] is None
    hostile = (
        "# Rules\n\n<script>bad()</script> ![x](https://evil.example/x.png)"
        " [a](javascript:bad()) <img src=x onerror=bad()>"
    )
    first = res.put("/api/research/guidelines", json={"text": hostile}).json()
    assert "<h1>Rules</h1>" in first["html"]
    assert "<script" not in first["html"]
    assert "<img" not in first["html"]
    assert 'href="javascript' not in first["html"]
    second = res.put("/api/research/guidelines", json={"text": "# Rules 2"}).json()
    assert ann.get("/api/guidelines").json() == second
    assert second["id"] > first["id"]
    assert ann.put("/api/research/guidelines", json={"text": "mine"}).status_code == 403


def test_the_same_guidelines_again_are_the_same_version(demo_store: Store) -> None:
    with demo_store.write() as session:
        author = sessions.add_person(session, "lead", "researcher", "long enough").id
        assert guidelines.save_guidelines(session, "a", author) == guidelines.save_guidelines(
            session, " a ", author
        )


# ---- adjudication


def test_adjudication_overrides_votes_and_reveals_names(
    signed_in: Client, demo_store: Store
) -> None:
    ann, res = signed_in("ann"), signed_in("res")
    vote(ann, 5, "accept")
    vote(res, 5, "reject", reasons=["wrong_answer"])
    (item,) = res.get("/api/research/adjudication").json()["triples"]
    assert {v["decision"] for v in item["votes"]} == {"accept", "reject"}
    assert "ann" not in str(item["votes"])
    decision = {"triple": 5, "decision": "reject", "reasons": ["wrong_answer"], "note": "see [2]"}
    names = res.post("/api/research/adjudication", json=decision).json()["names"]
    assert sorted(names.values()) == ["ann", "res"]
    assert res.get("/api/research/adjudication").json()["waiting"] == 0
    with demo_store.read() as session:
        assert majority_labels(session)[5].accept is False
    res.delete("/api/research/adjudication/5")
    assert res.get("/api/research/adjudication").json()["waiting"] == 1
    assert res.delete("/api/research/adjudication/5").status_code == 409


# ---- statistics


def test_project_statistics_cover_all_votes(local: TestClient, demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=(0.9, 0.9, 0.5))
    with demo_store.write() as session:
        flags.add_flag(session, 1, 1, "look")
    assert local.get("/api/research/project").json()["votes"] == 0
    seen = local.get("/api/research/project", params={"simulated": True}).json()
    assert seen["votes"] == 3 * 157
    assert seen["flags"] == 1
    assert sum(row["votes"] for row in seen["per_hour"]) == seen["votes"]
    accurate, _, random = sorted(seen["annotators"], key=lambda row: -row["with_majority"])
    assert accurate["with_majority"] > random["with_majority"]
    alpha = seen["agreement"][0]
    assert alpha["low"] < alpha["value"] < alpha["high"]
    assert len(seen["agreement_over_time"]) == 1


def test_the_remaining_time_follows_the_pace(local: TestClient) -> None:
    for triple in (1, 2, 3):
        vote(local, triple, duration_ms=36_000, key=f"key-of-{triple}-vote")
    left = local.get("/api/research/project", params={"batch": "demo"}).json()["left"]
    assert left["votes"] == 3 * 157 - 3
    assert left["hours"] == pytest.approx(left["votes"] / 100)


def test_a_vote_faster_than_the_minimum_counts_as_too_fast(local: TestClient) -> None:
    vote(local, 1, duration_ms=200, key="a-quick-vote")
    vote(local, 2, duration_ms=9000, key="a-slow-vote")
    (row,) = local.get("/api/research/project", params={"batch": "demo"}).json()["annotators"]
    assert row["too_fast"] == 0.5


# ---- batches, gold, scripts


def test_new_gold_is_added_to_batches_that_use_gold(local: TestClient, demo_store: Store) -> None:
    body = {"triple": 1, "decision": "accept"}
    assert local.put("/api/research/gold", json=body).status_code == 200
    wish = {"name": "second", "votes": "any", "size": 20, "gold_rate": 0.1}
    assert local.post("/api/research/batches", json=wish).json()["triples"] == 20
    local.put("/api/research/gold", json={"triple": 2, "decision": "reject"})
    with demo_store.read() as session:
        places = session.scalars(
            select(BatchItem.triple_id).where(BatchItem.votes_required == 0)
        ).all()
        gold = session.scalars(select(Gold.triple_id)).all()
    assert set(gold) == {1, 2}
    assert 1 in places


def test_an_impossible_batch_is_explained(local: TestClient) -> None:
    for body, message in (
        ({"name": "demo", "votes": "any"}, "already exists"),
        ({"name": "new"}, "no triples match for a batch"),
        ({"name": "new", "votes": "any", "gold_rate": 0.1}, "no gold triples to hide"),
        ({"name": "new", "votes": "any", "qualify": 3}, "need as many training items; there are 0"),
        ({"name": "new", "votes": "any", "ordering": "uncertain"}, "no critic"),
    ):
        assert message in local.post("/api/research/batches", json=body).json()["error"], body


def test_a_pause_can_be_set_and_lifted(signed_in: Client) -> None:
    ann, res = signed_in("ann"), signed_in("res")
    vote(ann, 1)
    (row,) = res.get("/api/research/project").json()["annotators"]
    wish = {"person": row["id"], "batch": "demo", "reason": "Please read the guidelines."}
    res.post("/api/research/pauses", json=wish)
    seen = ann.get("/api/next", params={"batch": "demo"}).json()
    assert (seen["items"], seen["paused"]) == ([], "Please read the guidelines.")
    (pause,) = res.get("/api/research/project").json()["pauses"]
    res.post(f"/api/research/pauses/{pause['id']}/lift")
    assert ann.get("/api/next", params={"batch": "demo"}).json()["items"]


def test_a_closed_batch_returns_no_items(local: TestClient) -> None:
    local.patch("/api/research/batches/demo", json={"open": False})
    # The queue caches a batch's policy for two seconds; that of a new app is empty.
    assert local.get("/api/next", params={"batch": "demo"}).json()["items"] == []


def test_a_script_imports_and_downloads(local: TestClient, demo_store: Store) -> None:
    with demo_store.read() as session:
        name = session.scalars(select(Triple)).first().image.name  # type: ignore[union-attr]
    rows = (
        f'{{"image": "{name}", "regions": [], "question": "What is this?",'
        ' "answer": "A picture.", "rationale": "It is one."}\n{"image": 7}\n'
    )
    answer = local.post("/api/research/imports", params={"source": "demo"}, content=rows)
    report = answer.json()
    assert (report["new"]["triples"], report["rejected_rows"]) == (1, 1)
    assert (report["new triples"], report["rejected rows"]) == (1, 1)  # former names
    for triple in (1, 2, 3):
        vote(local, triple, key=f"key-of-{triple}-vote")
    first = local.get("/api/research/votes", params={"limit": 2}).json()
    rest = local.get("/api/research/votes", params={"after": first["next"]}).json()
    assert [v["triple_id"] for v in first["votes"] + rest["votes"]] == [1, 2, 3]
    assert rest["next"] is None
    found = local.get("/api/research/labels", params={"limit": 2}).json()
    assert [row["triple_id"] for row in found["labels"]] == [1, 2]
    assert found["next"] == 2
    row = found["labels"][0]
    assert (row["accept"], row["probability"], row["high"]) == (True, 1.0, 1.0)
    assert 0 < row["low"] < 0.5  # one vote


def test_labels_of_a_run_are_downloaded_page_by_page(local: TestClient, demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=[0.9, 0.8, 0.7])
    run = make_labels(demo_store, LabelSettings("dawid_skene", simulated=True))
    labels: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        query: dict[str, str | int] = {"run": run.name, "after": after, "limit": 60}
        page = local.get("/api/research/labels", params=query).json()
        labels += page["labels"]
        after = page["next"]
    assert [row["triple_id"] for row in labels] == list(range(1, 158))
    assert all(row["low"] <= row["probability"] <= row["high"] for row in labels)
    assert all(row["accept"] == (row["probability"] > 0.5) for row in labels)
    unknown = local.get("/api/research/labels", params={"run": "none"})
    assert unknown.status_code == 404


def test_an_import_for_an_unknown_source_lists_the_known_ones(local: TestClient) -> None:
    answer = local.post("/api/research/imports", params={"source": "none"}, content="{}")
    assert answer.json()["error"].startswith("no source named 'none': use one of demo")


def test_a_corrected_vote_is_counted_once(local: TestClient, demo_store: Store) -> None:
    vote(local, 1, key="first-version")
    body = {"replaces": "first-version", "key": "second-version", "decision": "reject"}
    local.post("/api/corrections", json=body)
    assert local.get("/api/research/project").json()["votes"] == 1
    with demo_store.read() as session:
        assert session.scalar(select(func.count()).select_from(Vote)) == 2
