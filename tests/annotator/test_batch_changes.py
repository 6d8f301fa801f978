"""Batches that exist are opened again, extended, and sent back to their annotator with a note."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from annotator.crowd import gold
from annotator.labelling import invariants, leases, returns
from annotator.labelling.leases import LeaseHolder
from annotator.labelling.queue import Queue
from annotator.labelling.returns import VoteSelection
from annotator.labelling.votes import VoteInput
from annotator.labels import adjudication
from annotator.studies import joining, studies
from annotator.studies.platforms import PlatformIds
from db.labelling import changes
from db.labelling.batches import QualityPolicy, Selection
from db.schema import Batch, BatchItem, Gold, Lease, Pause, Person, ReturnedVote, Triple, Vote
from db.store.clock import now
from db.store.session import Store
from db.transfer.importing import import_file
from lskd_cli import cli
from regions.errors import ConflictError, NotFoundError, UserError
from tests.annotator.labelling import BATCH, fill, lease, slots_used, standing_votes, vote
from tests.annotator.test_queue import with_gold

Client = Callable[..., TestClient]


def vote_on_all(store: Store, person: int, count: int) -> None:
    for item in lease(store, person, count):
        vote(store, person, item, f"{person} on {item['triple']}")


def send_back(store: Store, person: str = "p0", **changed: Any) -> returns.ReturnResult:  # noqa: ANN401 - its arguments
    return returns.send_back(store, BATCH, person, "Look at the hat.", **changed)


def is_consistent(store: Store) -> bool:
    return not [row for row in invariants.check(store) if row.violations]


# ---- reopen and extend


def test_a_complete_batch_is_opened_again_with_more_votes_each(store: Store) -> None:
    first, second, third = fill(store, triples=2, votes_required=2)
    for person in (first, second):
        vote_on_all(store, person, 2)
    with store.write() as session:
        session.execute(update(Batch).values(open=False))
    assert lease(store, third, 2) == []
    with pytest.raises(ConflictError, match="every triple of this batch has its votes"):
        reopen(store)
    changed = reopen(store, 3)
    assert (changed.votes_each, changed.triples_with_more_votes) == (3, 2)
    assert len(lease(store, third, 2)) == 2
    assert is_consistent(store)


def reopen(store: Store, votes_each: int | None = None) -> changes.Extension:
    with store.write() as session:
        return changes.reopen(session, BATCH, votes_each)


def test_adjudicated_triples_get_no_more_votes(store: Store) -> None:
    person, other, researcher = fill(store, triples=3, votes_required=1)
    vote_on_all(store, person, 3)
    with store.write() as session:
        decided = session.scalars(select(Triple.id)).first()
        assert decided is not None
        adjudication.adjudicate(session, decided, researcher, decision="accept")
        changed = changes.require_votes(session, BATCH, 2)
    assert (changed.triples_with_more_votes, changed.adjudicated_triples) == (2, 1)
    assert decided not in {item["triple"] for item in lease(store, other, 3)}
    with store.write() as session, pytest.raises(UserError, match="requires 2 votes already"):
        changes.require_votes(session, BATCH, 2)


def test_an_extension_adds_triples_that_the_batch_lacks(demo_store: Store) -> None:
    with demo_store.write() as session:
        session.execute(update(Batch).values(name="first"))
        n_triples = len(session.scalars(select(Triple.id)).all())
        in_first = set(session.scalars(select(BatchItem.triple_id)))
        assert len(in_first) == n_triples
        with pytest.raises(NotFoundError, match="no triples match"):
            changes.add_triples(session, "first", Selection(votes="any"), seed=0)
    assert run(demo_store, "batch", "create", "second", "--size", "5", "--voted", "any")
    (added,) = run(demo_store, "batch", "extend", "second", "--size", "7", "--voted", "any")
    assert added["new_triples"] == 7
    (more,) = run(demo_store, "batch", "extend", "second", "--votes", "5")
    assert (more["new_triples"], more["triples_with_more_votes"]) == (0, 12)
    with demo_store.read() as session:
        batch = session.scalars(select(Batch.id).where(Batch.name == "second")).one()
        rows = session.execute(
            select(BatchItem.votes_required, BatchItem.at_random).where(BatchItem.batch_id == batch)
        ).all()
    assert rows == [(5, True)] * 12


def test_triples_added_by_another_selection_are_not_a_random_sample(demo_store: Store) -> None:
    run(demo_store, "batch", "create", "small", "--size", "5", "--voted", "any")
    with demo_store.write() as session:
        triples = select(BatchItem.triple_id, BatchItem.at_random).order_by(BatchItem.position)
        batch = session.scalars(select(Batch.id).where(Batch.name == "small")).one()
        before = set(
            session.scalars(select(BatchItem.triple_id).where(BatchItem.batch_id == batch))
        )
        outside = session.scalars(select(Triple.id).where(Triple.id.not_in(before)).limit(1)).one()
        for decision, person in (("accept", 1), ("reject", 2)):
            session.add(Person(id=900 + person, name=f"x{person}", role="annotator", created=now()))
            session.flush()
            session.add(
                Vote(
                    key=f"split {person}",
                    triple_id=outside,
                    person_id=900 + person,
                    decision=decision,
                    created=now(),
                )
            )
        session.flush()
        changes.add_triples(session, "small", Selection(votes="split"), seed=0)
        rows = session.execute(triples.where(BatchItem.batch_id == batch)).all()
    assert [at_random for triple, at_random in rows if triple == outside] == [False]
    assert sum(at_random for _, at_random in rows) == 5


# ---- sent back


def test_votes_sent_back_are_asked_again_first_with_the_note(store: Store) -> None:
    person, other, _ = fill(store, triples=6, votes_required=1)
    vote_on_all(store, person, 3)
    judged = {item["triple"] for item in history(store, person)}
    result = send_back(store)
    assert (result.returned_votes, result.left_out) == (3, {})
    assert standing_votes(store) == 0
    # Nobody else gets them, whatever they lease.
    assert judged.isdisjoint(item["triple"] for item in lease(store, other, 6))
    items = lease(store, person, 4)
    assert {item["triple"] for item in items if item["note"] == "Look at the hat."} == judged
    for item in items:
        vote(store, person, item, f"again {item['triple']}", decision="reject")
    assert lease(store, person, 4) == []
    assert sum(slots_used(store)) == 6
    assert is_consistent(store)
    with store.read() as session:
        assert len(session.scalars(select(ReturnedVote)).all()) == 3
        withdrawn = session.scalars(select(Vote).where(Vote.withdrawn.is_not(None))).all()
    assert {row.key for row in withdrawn} == {f"{person} on {triple}" for triple in judged}


def history(store: Store, person: int) -> list[dict[str, int]]:
    with store.read() as session:
        ids = session.scalars(
            select(Vote.triple_id).where(Vote.person_id == person, Vote.withdrawn.is_(None))
        )
        return [{"triple": triple} for triple in ids]


def test_items_sent_back_outlast_a_tab_but_not_the_days_given(store: Store) -> None:
    person, other, _ = fill(store, triples=1, votes_required=1)
    vote_on_all(store, person, 1)
    send_back(store, days=2)
    assert len(lease(store, person, 1, tab="monday")) == 1
    pass_time(store, leases.LEASE_MS + 1)
    assert lease(store, other, 1) == []
    (item,) = lease(store, person, 1, tab="tuesday")
    assert item["note"] == "Look at the hat."
    pass_time(store, 2 * 24 * 3_600_000)
    assert len(lease(store, other, 1)) == 1
    assert is_consistent(store)


def pass_time(store: Store, milliseconds: int) -> None:
    with store.write() as session:
        session.execute(
            update(Lease).values(
                expires=Lease.expires - milliseconds, held_until=Lease.held_until - milliseconds
            )
        )


def test_only_the_votes_that_match_are_sent_back(store: Store) -> None:
    person, *_ = fill(store, triples=4, votes_required=1)
    holder, queue = LeaseHolder(person), Queue(store)
    with store.read() as session:
        triples = list(session.scalars(select(Triple.id)))
    for triple, decision, ms in zip(
        triples, ("accept", "accept", "reject", "skip"), (200, 5000, 200, None), strict=True
    ):
        queue.submit_vote(holder, BATCH, triple, VoteInput(f"on {triple}", decision, (), ms))  # type: ignore[arg-type]
    fast = VoteSelection(decision="accept", too_fast=True)
    assert send_back(store, selection=fast).returned_votes == 1
    assert {row["triple"] for row in history(store, person)} == set(triples[1:])
    assert send_back(store, selection=VoteSelection(triples=triples[3:])).returned_votes == 1
    with pytest.raises(NotFoundError, match="no such votes"):
        send_back(store, selection=fast)


def test_votes_that_must_stand_are_left_out_and_counted(store: Store) -> None:
    person, other, researcher = fill(store, triples=5, votes_required=1)
    vote_on_all(store, person, 2)
    queue, holder = Queue(store), LeaseHolder(person)
    (skipped,) = queue.next_items(holder, BATCH, 1).items
    queue.submit_vote(holder, BATCH, skipped["triple"], VoteInput("a skip", "skip"))
    for item in lease(store, other, 1):
        vote(store, other, item, "other's")
    vote_on_all(store, other, 5)  # also the skipped one
    decided = history(store, person)[0]["triple"]
    with store.write() as session:
        adjudication.adjudicate(session, decided, researcher, decision="accept")
    result = send_back(store)
    assert result.returned_votes == 1
    assert result.left_out == {"adjudicated": 1, "skips whose triple has all its votes": 1}
    assert is_consistent(store)


def test_votes_that_were_paid_for_stand(store: Store) -> None:
    fill(store, triples=4, votes_required=1)
    with store.write() as session:
        study = studies.create_study(session, "s", BATCH, quota=2)
        joining.join_study(session, study.link, PlatformIds("w1"))
        person = session.scalars(select(Person.id).where(Person.name == "worker w1")).one()
    holder = LeaseHolder(person, "", 2, study.id)
    queue = Queue(store)
    for item in queue.next_items(holder, BATCH, 2).items:
        queue.submit_vote(
            holder, BATCH, item["triple"], VoteInput(f"on {item['triple']}", "accept")
        )
    # Before the code was shown, the worker is asked again, within the quota.
    assert send_back(store, "worker w1").returned_votes == 2
    again = queue.next_items(holder, BATCH, 4).items
    assert len(again) == 2
    for item in again:
        vote_input = VoteInput(f"again {item['triple']}", "reject")
        queue.submit_vote(holder, BATCH, item["triple"], vote_input)
    with store.write() as session:
        joining.finish_study(session, study.id, person)
    result = send_back(store, "worker w1")
    assert result.returned_votes == 0
    assert result.left_out == {"paid for: the worker has finished the study": 2}
    assert is_consistent(store)


def test_gold_is_never_asked_again(sqlite_store: Store) -> None:
    person, _ = with_gold(sqlite_store, policy=QualityPolicy(gold_rate=0.5), hidden=1)
    queue, holder = Queue(sqlite_store), LeaseHolder(person)
    with sqlite_store.read() as session:
        (hidden,) = session.scalars(select(Gold.triple_id))
    for each in (hidden, 1):
        queue.submit_vote(holder, "gold batch", each, VoteInput(f"on {each}", "accept"))
    result = returns.send_back(sqlite_store, "gold batch", "p0", "Look again.")
    assert (result.returned_votes, result.left_out) == (1, {"gold": 1})


def test_a_crowd_worker_is_asked_only_within_quota_and_study(sqlite_store: Store) -> None:
    fill(sqlite_store, triples=4, votes_required=2)
    with sqlite_store.write() as session:
        study = studies.create_study(session, "s", BATCH, quota=2)
        joining.join_study(session, study.link, PlatformIds("w1"))
        person = session.scalars(select(Person.id).where(Person.name == "worker w1")).one()
    holder, queue = LeaseHolder(person, "", 2, study.id), Queue(sqlite_store)
    one, two = queue.next_items(holder, BATCH, 2).items
    queue.submit_vote(holder, BATCH, one["triple"], VoteInput("a skip", "skip"))
    queue.submit_vote(holder, BATCH, two["triple"], VoteInput("a vote", "accept"))
    result = send_back(sqlite_store, "worker w1")
    assert (result.returned_votes, result.left_out) == (1, {"skips of crowd workers": 1})
    queue.submit_vote(holder, BATCH, two["triple"], VoteInput("again", "accept"))
    with sqlite_store.write() as session:
        studies.update_study(session, study.id, is_open=False)
    result = send_back(sqlite_store, "worker w1", selection=VoteSelection(decision="accept"))
    assert (result.returned_votes, result.left_out) == (0, {"of a closed study": 1})


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        ("close", "this batch is closed"),
        ("pause", "this person is paused"),
        ("account", "this account is closed"),
        ("simulated", "this account is simulated"),
    ],
)
def test_votes_of_somebody_who_cannot_vote_are_not_sent_back(
    sqlite_store: Store, stop: str, message: str
) -> None:
    person, *_ = fill(sqlite_store)
    vote_on_all(sqlite_store, person, 1)
    with sqlite_store.write() as session:
        if stop == "close":
            session.execute(update(Batch).values(open=False))
        elif stop == "pause":
            gold.pause_in_batch(session, person, BATCH, "look again")
        else:
            field = "active" if stop == "account" else "simulated"
            session.execute(update(Person).values({field: stop == "simulated"}))
    with pytest.raises(ConflictError, match=message):
        send_back(sqlite_store)
    assert standing_votes(sqlite_store) == 1


def test_a_pause_ends_what_was_sent_back(store: Store) -> None:
    person, *_ = fill(store)
    vote_on_all(store, person, 2)
    send_back(store)
    with store.write() as session:
        gold.pause_in_batch(session, person, BATCH, "look again")
    assert sum(slots_used(store)) == 0
    assert is_consistent(store)
    with store.write() as session:
        session.execute(update(Pause).values(lifted=now()))
    assert {item["note"] for item in lease(store, person, 6)} == {""}


# ---- over HTTP and by command


def test_researchers_change_batches_over_http(signed_in: Client) -> None:
    ann, res = signed_in("ann"), signed_in("res")
    base = "/api/research/batches/demo"
    for triple in (1, 2):
        body = {"batch": "demo", "triple": triple, "decision": "accept", "key": f"key of {triple}"}
        ann.post("/api/votes", json=body)
    sent = {"person": "ann", "note": "Look again.", "triples": [2]}
    assert ann.post(f"{base}/returns", json=sent).status_code == 403
    assert res.post(f"{base}/returns", json=sent).json() == {"returned_votes": 1, "left_out": {}}
    items = ann.get("/api/next", params={"batch": "demo"}).json()["items"]
    assert (items[0]["triple"], items[0]["note"], items[1]["note"]) == (2, "Look again.", "")
    res.patch(base, json={"open": False})
    assert ann.get("/api/next", params={"batch": "demo"}).json()["items"] == []
    assert res.post(f"{base}/reopen", json={"votes_each": 9}).json()["votes_each"] == 9
    assert res.post(f"{base}/votes", json={"votes_each": 9}).status_code == 422
    assert res.post(f"{base}/triples", json={"votes": "any"}).status_code == 404
    res.patch(base, json={"price": 0.05, "price_unit": "vote"})
    (row,) = res.get("/api/research/batches").json()
    assert (row["open"], row["price"], row["price_unit"]) == (True, 0.05, "vote")
    assert res.patch(base, json={"price": -1}).status_code == 422


def run(store: Store, *words: str) -> Any:  # noqa: ANN401 - JSON
    url = store.engine.url.render_as_string(hide_password=False)
    result = CliRunner().invoke(cli, [*words, "--store", url, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_commands_send_back_reopen_and_list(demo_store: Store, signed_in: Client) -> None:
    body = {"batch": "demo", "triple": 3, "decision": "accept", "key": "the key of it"}
    signed_in("ann").post("/api/votes", json=body)
    result = run(demo_store, "batch", "send-back", "demo", "ann", "--note", "Again, please.")
    assert result["returned_votes"] == 1
    url = demo_store.engine.url.render_as_string(hide_password=False)
    assert CliRunner().invoke(cli, ["batch", "close", "demo", "--store", url]).exit_code == 0
    assert not run(demo_store, "batch", "list")[0]["open"]
    assert run(demo_store, "batch", "reopen", "demo")["batch"] == "demo"
    price = CliRunner().invoke(
        cli, ["batch", "price", "demo", "12", "--per", "hour", "--store", url]
    )
    assert price.output == "demo: 12 per hour\n"


# ---- gold and votes from files


def gold_file(folder: Path, rows: list[dict[str, object]], suffix: str) -> Path:
    file = folder / f"gold.{suffix}"
    if suffix == "jsonl":
        file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
        return file
    with file.open("w", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, ["triple", "decision", "reasons", "note", "training_item"])
        table.writeheader()
        table.writerows(rows)
    return file


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_gold_is_imported_and_each_bad_row_counted(
    sqlite_store: Store, tmp_path: Path, suffix: str
) -> None:
    fill(sqlite_store, triples=4)
    with sqlite_store.write() as session:
        session.execute(update(Batch).values(gold_rate=0.5))
    rows: list[dict[str, object]] = [
        {"triple": "triple 0", "decision": "reject", "reasons": "trivial", "note": "so dull"},
        {"triple": "triple 1", "decision": "accept", "training_item": True},
        {"triple": "triple 1", "decision": "reject"},
        {"triple": "none", "decision": "accept"},
        {"triple": "triple 2", "decision": "skip"},
        {"triple": "triple 2", "decision": "accept", "reasons": "trivial"},
    ]
    report = import_file(sqlite_store, "gold", gold_file(tmp_path, rows, suffix))
    assert (report.new, report.rejected_rows) == ({"gold": 2}, 4)
    assert report.rejection_reasons.keys() >= {
        "triple: no such triple: none",
        "decision: this triple is gold already: accept; change it with `lskd gold set`",
        "reasons: only a rejection has reasons",
    }
    with sqlite_store.read() as session:
        first, second = session.scalars(select(Gold).order_by(Gold.triple_id)).all()
    assert (first.decision, first.reasons, first.note) == ("reject", ["trivial"], "so dull")
    assert (first.is_training_item, second.is_training_item) == (False, True)
    again = import_file(sqlite_store, "gold", gold_file(tmp_path, rows, suffix))
    assert again.new == {"gold": 0}


def test_imported_gold_reaches_open_batches_that_use_it(
    sqlite_store: Store, tmp_path: Path
) -> None:
    ids = fill(sqlite_store, triples=4)
    with sqlite_store.write() as session:
        session.add(
            Triple(
                key="outside",
                image_id=1,
                question="Who?",
                answer="He.",
                rationale="He is.",
                visible_regions=[0],
                source="s",
            )
        )
        session.execute(update(Batch).values(gold_rate=1.0))
    file = gold_file(tmp_path, [{"triple": "outside", "decision": "accept"}], "csv")
    import_file(sqlite_store, "gold", file)
    assert any(item["question"] == "Who?" for item in lease(sqlite_store, ids[0], 2))


def test_imported_votes_bring_their_people(sqlite_store: Store, tmp_path: Path) -> None:
    fill(sqlite_store, triples=2)
    file = tmp_path / "votes.csv"
    file.write_text(
        "triple,annotator,decision,reasons,duration_ms,simulated\n"
        "triple 0,ada,accept,,900,\ntriple 0,bob,reject,trivial,1200,\n"
        "triple 1,ada,skip,,,\ntriple 1,robot,accept,,,yes\n",
        "utf-8",
    )
    assert import_file(sqlite_store, "votes", file).new == {"votes": 4}
    with sqlite_store.read() as session:
        rows = session.execute(
            select(Person.name, Person.simulated, Vote.decision, Vote.duration_ms)
            .join(Vote, Vote.person_id == Person.id)
            .order_by(Vote.id)
        ).all()
    assert [tuple(row) for row in rows] == [
        ("ada", False, "accept", 900),
        ("bob", False, "reject", 1200),
        ("ada", False, "skip", None),
        ("robot", True, "accept", None),
    ]
