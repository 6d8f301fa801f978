"""Confusion, drift and cost of the project page, each derived by hand; its csv and version."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from scipy.stats import binomtest
from sqlalchemy import select, update

from annotator.crowd import gold
from annotator.crowd.batch_rows import list_batches
from annotator.crowd.rates import Rate
from annotator.labels import adjudication
from annotator.statistics import costs, project_tables
from annotator.statistics.project_tables import TABLES
from annotator.statistics.reliability import BLOCK_VOTES, reliability
from db.labelling import changes
from db.schema import Batch, Decision, Person, Triple, Vote
from db.store.clock import now
from db.store.session import Store
from tests.annotator.labelling import BATCH, fill, lease, vote

Client = Callable[..., TestClient]


@pytest.mark.parametrize(("correct", "judged"), [(0, 1), (7, 10), (10, 10), (180, 200)])
def test_the_interval_is_wilsons(correct: int, judged: int) -> None:
    expected = binomtest(correct, judged).proportion_ci(method="wilson")
    rate = Rate.of(correct, judged)
    assert (rate.low, rate.high) == pytest.approx((expected.low, expected.high))
    assert (Rate.of(0, 0).value, Rate.of(0, 0).low, Rate.of(0, 0).high) == (None, 0.0, 1.0)


def cast(store: Store, person: int, decisions: dict[int, Decision], created: int = 0) -> None:
    with store.write() as session:
        batch = session.scalars(select(Batch.id)).first()
        for triple, decision in decisions.items():
            session.add(
                Vote(
                    key=f"{person} on {triple}",
                    triple_id=triple,
                    person_id=person,
                    batch_id=batch,
                    decision=decision,
                    duration_ms=36_000,
                    created=created or now(),
                )
            )


def triples_of(store: Store) -> list[int]:
    with store.read() as session:
        return list(session.scalars(select(Triple.id).order_by(Triple.id)))


def test_confusion_counts_known_triples_by_what_they_should_be(sqlite_store: Store) -> None:
    person, other, researcher = fill(sqlite_store, triples=6)
    one, two, three, four, five, six = triples_of(sqlite_store)
    cast(
        sqlite_store,
        person,
        {
            one: "accept",
            two: "reject",
            three: "reject",
            four: "accept",
            five: "skip",
            six: "accept",
        },
    )
    with sqlite_store.write() as session:
        for triple, decision in ((one, "accept"), (two, "accept"), (three, "reject")):
            gold.set_gold(session, triple, decision)  # type: ignore[arg-type]
        gold.set_gold(session, five, "accept")
        adjudication.adjudicate(session, four, researcher, decision="reject")
    with sqlite_store.read() as session:
        rows = reliability(session, None, simulated=False).confusion
    by_source = {row.against: row for row in rows}
    assert {row.id for row in rows} == {person}
    assert other not in {row.id for row in rows}
    accepts, rejects = by_source["gold"].accepts, by_source["gold"].rejects
    assert (accepts.correct, accepts.judged, rejects.correct, rejects.judged) == (1, 2, 1, 1)
    assert by_source["gold"].accuracy.value == pytest.approx(2 / 3)
    adjudicated = by_source["adjudication"]
    assert (adjudicated.rejects.correct, adjudicated.rejects.judged) == (0, 1)
    assert adjudicated.accepts.value is None


def test_agreement_is_with_the_majority_of_the_others(sqlite_store: Store) -> None:
    first, second, third = fill(sqlite_store, triples=3)
    one, two, three = triples_of(sqlite_store)
    cast(sqlite_store, first, {one: "accept", two: "accept", three: "accept"})
    cast(sqlite_store, second, {one: "accept", two: "reject"})
    cast(sqlite_store, third, {one: "reject", two: "reject"})
    with sqlite_store.read() as session:
        drift = {row.id: row.points for row in reliability(session, None, simulated=False).drift}
    # On `one` the others of `first` are tied; on `three` nobody else has voted.
    (point,) = drift[first]
    assert (point.agreement.correct, point.agreement.judged, point.votes) == (0, 1, 3)
    # So are those of who rejects `two`, and those of `second` on `one`.
    assert [drift[person][0].agreement.judged for person in (second, third)] == [0, 1]
    assert drift[third][0].agreement.correct == 0


def test_drift_has_a_point_for_each_fifty_votes_and_each_week(sqlite_store: Store) -> None:
    person, *_ = fill(sqlite_store, triples=2 * BLOCK_VOTES + 10)
    triples = triples_of(sqlite_store)
    monday, day = 1_764_547_200_000, 24 * 3_600_000  # 2025-12-01
    cast(sqlite_store, person, dict.fromkeys(triples[:BLOCK_VOTES], "accept"), monday - day)
    cast(sqlite_store, person, dict.fromkeys(triples[BLOCK_VOTES:], "reject"), monday)
    with sqlite_store.write() as session:
        for triple in triples:
            gold.set_gold(session, triple, "accept")
    with sqlite_store.read() as session:
        everybody, own = reliability(session, None, simulated=False).drift
    # The last ten votes are too few for a point of their own.
    assert [(p.votes, p.accuracy.value) for p in own.points] == [(50, 1.0), (60, 0.0)]
    assert [(p.start, p.votes) for p in everybody.points] == [
        (monday - 7 * day, 50),
        (monday, 60),
    ]


def test_cost_is_votes_or_hours_times_the_price(sqlite_store: Store) -> None:
    person, other, _ = fill(sqlite_store, triples=4, votes_required=2)
    one, two, three, _ = triples_of(sqlite_store)
    cast(sqlite_store, person, {one: "accept", two: "reject", three: "skip"})

    def cost() -> costs.Cost:
        with sqlite_store.read() as session:
            rows = list_batches(session)
            return costs.annotation_cost(session, rows, None, simulated=False)

    assert (cost().so_far, cost().to_come, cost().unpriced_batches) == (None, None, 1)
    price(sqlite_store, 0.5, "vote")
    assert (cost().so_far, cost().to_come) == (1.0, 3.0)  # 2 votes of 8
    price(sqlite_store, 10, "hour")
    # 3 times 36 s, also for the skip; 6 votes of 36 s are missing.
    assert (cost().so_far, cost().to_come) == pytest.approx((0.3, 0.6))
    with sqlite_store.write() as session:
        session.execute(update(Batch).values(open=False))
        session.execute(update(Person).where(Person.id == other).values(simulated=True))
    assert cost().to_come == 0


def price(store: Store, amount: float, unit: str) -> None:
    with store.write() as session:
        changes.set_price(session, BATCH, amount, unit)  # type: ignore[arg-type]


@pytest.fixture
def researcher(signed_in: Client) -> TestClient:
    ann = signed_in("ann")
    for triple, decision in ((1, "accept"), (2, "reject")):
        body = {"batch": "demo", "triple": triple, "decision": decision, "key": f"key of {triple}"}
        reasons = ["trivial"] if decision == "reject" else []
        ann.post("/api/votes", json={**body, "reasons": reasons, "duration_ms": 4000})
    return signed_in("res")


@pytest.mark.parametrize("table", TABLES)
def test_each_table_is_a_csv(researcher: TestClient, table: str) -> None:
    researcher.put("/api/research/gold", json={"triple": 1, "decision": "accept"})
    answer = researcher.get(f"/api/research/project/{table}.csv")
    assert answer.headers["content-disposition"] == f'attachment; filename="{table}.csv"'
    assert answer.content.startswith("\ufeff".encode())
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    if table in {"agreement", "days"}:
        assert rows == []  # one annotator
    elif table == "confusion":
        assert (rows[0]["name"], rows[0]["accepts_correct"], rows[0]["rejects_judged"]) == (
            *("ann", "1"),
            "0",
        )
    elif table == "reasons":
        assert rows == [{"reason": "trivial", "votes": "1"}]
    else:
        assert rows
    assert researcher.get("/api/research/project/none.csv").status_code == 422


def test_a_csv_holds_no_formula(researcher: TestClient, demo_store: Store) -> None:
    with demo_store.write() as session:
        session.execute(update(Person).where(Person.name == "ann").values(name="=1+1"))
    text = researcher.get("/api/research/project/annotators.csv").text
    assert "'=1+1" in text


def test_the_version_changes_with_what_the_page_shows(
    researcher: TestClient, signed_in: Client
) -> None:
    def version() -> str:
        text: str = researcher.get("/api/research/project/version").json()["version"]
        return text

    ann = signed_in("ann")
    seen = [version()]
    assert version() == seen[0]
    requests: tuple[Callable[[], Any], ...] = (
        lambda: ann.post("/api/undo", json={"key": "key of 2"}),
        lambda: researcher.patch("/api/research/batches/demo", json={"open": False}),
        lambda: researcher.patch("/api/research/batches/demo", json={"price": 1}),
        lambda: researcher.put("/api/research/gold", json={"triple": 5, "decision": "accept"}),
        lambda: ann.post("/api/flags", json={"triple": 3, "note": "look"}),
    )
    for request in requests:
        assert request().status_code == 200
        seen.append(version())
    assert len(set(seen)) == len(seen)


def test_leases_do_not_change_the_version(sqlite_store: Store) -> None:
    person, *_ = fill(sqlite_store)
    with sqlite_store.read() as session:
        before = project_tables.version(session)
    (item,) = lease(sqlite_store, person, 1)
    with sqlite_store.read() as session:
        assert project_tables.version(session) == before
    vote(sqlite_store, person, item, "a vote")
    with sqlite_store.read() as session:
        assert project_tables.version(session) != before
