"""Studies: joining by a link, whose browser and signature prove the worker; review and payment."""

import csv
import io
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from annotator.crowd.gold import set_gold
from annotator.labelling import invariants
from annotator.studies import joining, payments, platforms, studies
from annotator.studies.platforms import PlatformIds
from annotator.studies.settings import ReviewRules
from annotator.studies.workers import WorkerRow
from db.schema import Person, Study, StudySession, Vote
from db.store.clock import now
from db.store.session import Store
from lskd_cli import cli
from regions.errors import ConflictError, UserError
from tests.annotator.labelling import BATCH, fill

Client = Callable[..., TestClient]
PROLIFIC = {"PROLIFIC_PID": "5f3", "STUDY_ID": "st1", "SESSION_ID": "se1"}


@pytest.fixture
def path(admin: TestClient) -> str:
    wish = {"name": "prolific", "batch": "demo", "quota": 2, "code": "C0DE"}
    link: str = admin.post("/api/admin/studies", json=wish).json()["path"]
    return link


def test_a_worker_joins_by_a_link_and_gets_the_code_after_the_quota(
    signed_in: Client, path: str, demo_store: Store
) -> None:
    worker = signed_in(None)
    page = worker.get(path, params=PROLIFIC)
    assert "You will judge 2 short texts" in page.text
    (batch,) = worker.get("/api/batches").json()
    assert batch["name"] == "demo"
    answer = worker.get("/api/next", params={"batch": "demo", "count": 10}).json()
    assert len(answer["items"]) == answer["quota"] == 2
    assert answer["finish"] is None
    for n, item in enumerate(answer["items"]):
        vote = {
            "batch": "demo",
            "triple": item["triple"],
            "decision": "accept",
            "key": f"worker-{n}",
        }
        assert worker.post("/api/votes", json={**vote, "ahead": 4}).json()["items"] == []
    done = worker.get("/api/next", params={"batch": "demo"}).json()
    assert done["finish"] == {"code": "C0DE", "url": ""}
    with demo_store.read() as session:
        study_session = session.scalars(select(StudySession)).one()
    assert (study_session.platform_study, study_session.platform_session) == ("st1", "se1")
    assert study_session.finished is not None


def test_nothing_can_be_undone_once_the_code_was_shown(signed_in: Client, path: str) -> None:
    worker = signed_in(None)
    worker.get(path, params=PROLIFIC)
    for n, item in enumerate(worker.get("/api/next", params={"batch": "demo"}).json()["items"]):
        vote = {
            "batch": "demo",
            "triple": item["triple"],
            "decision": "accept",
            "key": f"key-{n:04}",
        }
        worker.post("/api/votes", json=vote)
    assert worker.get("/api/next", params={"batch": "demo"}).json()["finish"]
    for answer in (
        worker.post("/api/undo", json={"key": "key-0000"}),
        worker.post(
            "/api/corrections",
            json={"replaces": "key-0000", "key": "correction", "decision": "skip"},
        ),
    ):
        assert answer.status_code == 409
        assert "completed this study" in answer.json()["error"]


def test_the_code_is_that_of_the_study_joined(
    admin: TestClient, signed_in: Client, path: str
) -> None:
    """Also if a newer study has the same batch, and the worker has joined both."""
    newer = {"name": "newer", "batch": "demo", "quota": 3, "code": "NEWER"}
    newer_path = admin.post("/api/admin/studies", json=newer).json()["path"]
    codes, votes = [], 0
    worker = signed_in(None)
    for link in (newer_path, path):
        worker.get(link, params=PROLIFIC)
        for item in worker.get("/api/next", params={"batch": "demo"}).json()["items"]:
            vote = {"batch": "demo", "triple": item["triple"], "decision": "accept"}
            worker.post("/api/votes", json={**vote, "key": f"vote on {item['triple']}"})
            votes += 1
        finish = worker.get("/api/next", params={"batch": "demo"}).json()["finish"]
        codes.append(finish["code"])
    assert codes == ["NEWER", "C0DE"]
    assert votes == 3 + 2


def test_a_worker_finishes_a_study_before_joining_another_of_its_batch(
    admin: TestClient, signed_in: Client, path: str
) -> None:
    newer = {"name": "newer", "batch": "demo", "quota": 3}
    newer_path = admin.post("/api/admin/studies", json=newer).json()["path"]
    worker = signed_in(None)
    worker.get(path, params=PROLIFIC)
    answer = worker.get(newer_path, params=PROLIFIC)
    assert answer.status_code == 409
    assert "finish prolific first" in answer.text


def test_a_returning_worker_is_the_same_person(
    signed_in: Client, path: str, demo_store: Store
) -> None:
    worker = signed_in(None)
    for _ in range(2):
        assert worker.get(path, params=PROLIFIC).status_code == 200
    with demo_store.read() as session:
        names = session.scalars(select(Person.name).where(Person.name.like("worker%"))).all()
    assert names == ["worker 5f3"]


def test_a_worker_is_limited_to_the_study(signed_in: Client, path: str) -> None:
    worker = signed_in(None)
    worker.get(path, params={"workerId": "A1", "hitId": "h", "assignmentId": "a"})
    assert worker.get("/annotate/").status_code == 200
    for page in ("/demo/", "/critic/", "/project/", "/api/research/votes"):
        assert worker.get(page).status_code == 403
    assert worker.get("/api/next", params={"batch": "another"}).status_code == 404


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "no worker id"),
        ({"worker": "<script>"}, "ids in this link are not valid"),
        ({"workerId": "A", "assignmentId": "ASSIGNMENT_ID_NOT_AVAILABLE"}, "accept the task first"),
    ],
)
def test_a_link_with_invalid_ids_is_refused(
    signed_in: Client, path: str, parameters: dict[str, str], message: str
) -> None:
    answer = signed_in(None).get(path, params=parameters)
    assert answer.status_code == 422
    assert message in answer.text
    assert "<script>" not in answer.text.replace("<script src", "")


def test_a_closed_study_refuses_workers(admin: TestClient, signed_in: Client, path: str) -> None:
    (study,) = admin.get("/api/admin/people").json()["studies"]
    admin.patch(f"/api/admin/studies/{study['id']}", json={"open": False})
    assert "closed" in signed_in(None).get(path, params=PROLIFIC).text


def test_a_study_of_an_unknown_batch_is_refused(demo_store: Store) -> None:
    with pytest.raises(UserError, match="no batch named 'none'"), demo_store.write() as session:
        studies.create_study(session, "s", "none", quota=1)


# ---- whose worker it is


def study_id(admin: TestClient) -> int:
    number: int = admin.get("/api/admin/people").json()["studies"][0]["id"]
    return number


def test_a_workers_id_from_another_browser_is_refused_until_released(
    admin: TestClient, signed_in: Client, path: str
) -> None:
    first, other = signed_in(None), signed_in(None)
    assert first.get(path, params=PROLIFIC).status_code == 200
    vote = {"batch": "demo", "triple": 1, "decision": "accept", "key": "the first vote"}
    assert first.post("/api/votes", json=vote).status_code == 200
    refused = other.get(path, params=PROLIFIC)
    assert refused.status_code == 409
    assert "joined from another browser: continue there, or ask the researcher" in refused.text
    assert other.get("/api/batches").status_code == 401

    release = f"/api/admin/studies/{study_id(admin)}/release"
    assert admin.post(release, json={"worker": "5f3"}).json() == {"place_freed": False}
    assert other.get(path, params=PROLIFIC).status_code == 200
    assert first.get(path, params=PROLIFIC).status_code == 409
    assert admin.post(release, json={"worker": "nobody"}).status_code == 404


def test_the_refusal_is_in_the_browsers_language(signed_in: Client, path: str) -> None:
    signed_in(None).get(path, params=PROLIFIC)
    refused = signed_in(None).get(path, params=PROLIFIC, headers={"accept-language": "de"})
    assert "in einem anderen Browser" in refused.text


def test_the_browsers_cookie_outlives_the_session_and_no_script_reads_it(
    signed_in: Client, path: str
) -> None:
    cookies = signed_in(None).get(path, params=PROLIFIC).headers.get_list("set-cookie")
    (cookie,) = [text.lower() for text in cookies if text.startswith("lskd_browser=")]
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "max-age=34560000" in cookie


def test_another_study_of_the_batch_shows_no_worker_to_a_stranger(
    admin: TestClient, signed_in: Client, path: str
) -> None:
    """Its history would show, and change, the votes of the first study."""
    newer = {"name": "newer", "batch": "demo", "quota": 3}
    newer_path = admin.post("/api/admin/studies", json=newer).json()["path"]
    signed_in(None).get(path, params=PROLIFIC)
    assert "another browser" in signed_in(None).get(newer_path, params=PROLIFIC).text


def test_a_released_worker_is_signed_out_and_frees_the_place_without_a_vote(
    admin: TestClient, signed_in: Client, path: str
) -> None:
    number = study_id(admin)
    admin.patch(f"/api/admin/studies/{number}", json={"max_workers": 1})
    first, second = signed_in(None), signed_in(None)
    first.get(path, params=PROLIFIC)
    assert "places in this study are taken" in second.get(path, params={"worker": "w2"}).text
    released = admin.post(f"/api/admin/studies/{number}/release", json={"worker": "5f3"})
    assert released.json() == {"place_freed": True}
    assert first.get("/api/batches").status_code == 401
    assert second.get(path, params={"worker": "w2"}).status_code == 200


# ---- signed links


@pytest.fixture
def signed(admin: TestClient) -> tuple[str, str]:
    """The path and the secret of a study whose links need a signature."""
    wish = {"name": "signed", "batch": "demo", "quota": 2, "signed": True}
    study = admin.post("/api/admin/studies", json=wish).json()
    secret = admin.get(f"/api/admin/studies/{study['id']}/secret").json()["secret"]
    return study["path"], secret


def test_a_signed_link_lets_its_worker_in_from_any_browser(
    signed_in: Client, signed: tuple[str, str]
) -> None:
    path, secret = signed
    signature = platforms.sign(secret, PlatformIds("5f3", "st1", "se1"))
    for _ in range(2):
        answer = signed_in(None).get(path, params={**PROLIFIC, "signature": signature})
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("ids", "signature"),
    [
        (PROLIFIC, ""),
        (PROLIFIC, "0" * 64),
        (PROLIFIC, "ä"),
        ({**PROLIFIC, "PROLIFIC_PID": "somebody else"}, None),
        ({**PROLIFIC, "SESSION_ID": "another"}, None),
    ],
)
def test_a_link_without_the_signature_of_its_ids_is_refused(
    signed_in: Client, signed: tuple[str, str], ids: dict[str, str], signature: str | None
) -> None:
    path, secret = signed
    if signature is None:
        signature = platforms.sign(secret, PlatformIds("5f3", "st1", "se1"))
    answer = signed_in(None).get(path, params={**ids, "signature": signature})
    assert answer.status_code == 422
    assert "signature" in answer.text or "ids in this link" in answer.text


def test_commands_print_the_secret_and_signed_links(demo_store: Store, signed_in: Client) -> None:
    url = demo_store.engine.url.render_as_string(hide_password=False)

    def run(*words: str) -> str:
        result = CliRunner().invoke(cli, ["study", *words, "--store", url])
        assert result.exit_code == 0, result.output
        return result.stdout.strip()

    run("by-mail", "demo", "--quota", "2", "--signed")
    (link,) = run("sign", "by-mail", "ann").splitlines()
    assert signed_in(None).get(link).status_code == 200
    assert link.endswith(platforms.sign(run("secret", "by-mail"), PlatformIds("ann")))
    run("update", "by-mail", "--unsigned")
    refused = CliRunner().invoke(cli, ["study", "sign", "by-mail", "ann", "--store", url])
    assert "need no signature" in refused.output


# ---- places


def test_parallel_joins_take_no_more_places_than_the_study_has(store: Store) -> None:
    fill(store)
    with store.write() as session:
        study = studies.create_study(session, "small", BATCH, quota=1, max_workers=3)
        link = study.link
    outcomes: list[object] = []
    barrier = threading.Barrier(8)

    def join(number: int) -> None:
        barrier.wait()
        try:
            with store.write() as session:
                joining.join_study(session, link, PlatformIds(f"minted-{number}"))
            outcomes.append("joined")
        except ConflictError as error:
            outcomes.append(error.problem)

    threads = [threading.Thread(target=join, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == [
        *["all places in this study are taken"] * 5,
        *["joined"] * 3,
    ]
    assert not [row for row in invariants.check(store) if row.violations]


def test_the_same_worker_in_two_requests_at_once_is_one_worker(store: Store) -> None:
    fill(store)
    with store.write() as session:
        link = studies.create_study(session, "small", BATCH, quota=1).link
    outcomes: list[str] = []

    def join() -> None:
        try:
            with store.write() as session:
                joining.join_study(session, link, PlatformIds("w1"))
            outcomes.append("joined")
        except ConflictError as error:
            outcomes.append(error.problem)

    threads = [threading.Thread(target=join) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["joined", *["this worker id has joined from another browser"] * 3]


def test_two_studies_of_a_batch_let_one_browser_in_as_a_worker(store: Store) -> None:
    """Also if both are joined at the same moment."""
    fill(store)
    with store.write() as session:
        links = [studies.create_study(session, name, BATCH, quota=1).link for name in "ab"]
        # Known of earlier studies: adding a new person would make one request wait for the other.
        session.add_all(
            Person(name=f"worker w{number}", role="annotator", created=now()) for number in range(8)
        )
    for number in range(8):
        barrier, outcomes = threading.Barrier(2), list[str]()

        def join(link: str, worker: str, barrier: threading.Barrier, outcomes: list[str]) -> None:
            barrier.wait()
            try:
                with store.write() as session:
                    joining.join_study(session, link, PlatformIds(worker))
                outcomes.append("joined")
            except ConflictError as error:
                outcomes.append(error.problem)

        threads = [
            threading.Thread(target=join, args=(link, f"w{number}", barrier, outcomes))
            for link in links
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["joined", "this worker id has joined from another browser"]


def test_a_study_has_twice_the_places_that_its_batch_needs(store: Store) -> None:
    fill(store, triples=6, votes_required=2)
    with store.write() as session:
        assert studies.create_study(session, "a", BATCH, quota=5).max_workers == 2 * 3
        assert studies.create_study(session, "b", BATCH, quota=100).max_workers == 2 * 2


def test_places_are_never_fewer_than_those_taken(
    admin: TestClient, signed_in: Client, path: str
) -> None:
    for worker in ("w1", "w2"):
        signed_in(None).get(path, params={"worker": worker})
    answer = admin.patch(f"/api/admin/studies/{study_id(admin)}", json={"max_workers": 1})
    assert "2 workers have joined" in answer.json()["error"]


# ---- attention, review, payment


def test_attention_counts_the_votes_between_joining_and_finishing(
    admin: TestClient, signed_in: Client, path: str, demo_store: Store
) -> None:
    worker = signed_in(None)
    worker.get(path, params=PROLIFIC)
    with demo_store.write() as session:  # a vote of an earlier study
        person = session.scalars(select(Person.id).where(Person.name == "worker 5f3")).one()
        batch = session.scalars(select(Study.batch_id)).one()
        earlier = Vote(key="earlier", triple_id=99, person_id=person, batch_id=batch, created=1)
        earlier.decision = "accept"
        session.add(earlier)
    first, second = worker.get("/api/next", params={"batch": "demo"}).json()["items"]
    with demo_store.write() as session:
        set_gold(session, first["triple"], "reject")
    for item, ms in ((first, 300), (second, 4_000)):
        vote = {"batch": "demo", "triple": item["triple"], "decision": "accept"}
        worker.post("/api/votes", json={**vote, "key": f"{ms} ms of time", "duration_ms": ms})
    worker.get("/api/next", params={"batch": "demo"})
    with demo_store.write() as session:
        joined = session.scalars(select(StudySession)).one()
        joined.created -= 90_000
    (row,) = admin.get(f"/api/admin/studies/{study_id(admin)}/workers").json()
    assert (row["worker"], row["votes"], row["skips"]) == ("5f3", 2, 0)
    assert (row["gold"], row["gold_judged"], row["too_fast"]) == (0.0, 1, 0.5)
    assert row["pace_ms"] == 2150
    assert 1.5 <= row["minutes"] < 2.5
    assert row["finished"] is not None
    assert row["bound"]


def worker_row(worker: str, **changes: object) -> WorkerRow:
    row = {
        "worker": worker,
        "platform_study": "hit-1",
        "platform_session": f"session-{worker}",
        "joined": 0,
        "finished": 600_000,
        "minutes": 10.0,
        "votes": 40,
        "skips": 1,
        "gold": 0.9,
        "gold_correct": 9,
        "gold_judged": 10,
        "gold_interval": (0.6, 0.98),
        "too_fast": 0.0,
        "pace_ms": 4_000.0,
        "paused": None,
        "bound": True,
    }
    return WorkerRow(**{**row, **changes})  # type: ignore[arg-type]


WORKERS = [
    worker_row("good"),
    worker_row("careless", gold=0.3, gold_correct=3),
    worker_row("unlucky", gold=0.0, gold_correct=0, gold_judged=1),
    worker_row("hasty", too_fast=0.8),
    worker_row("left", finished=None),
]
RULES = ReviewRules(
    min_gold_accuracy=0.7,
    max_too_fast=0.5,
    bonus=0.5,
    bonus_per_vote=0.015,
    bonus_gold_accuracy=0.8,
)


def test_the_rules_approve_reject_and_leave(tmp_path: Path) -> None:
    rows = payments.review(WORKERS, RULES)
    verdicts = {row.worker: row.verdict for row in rows}
    assert verdicts == {
        "good": "approve",
        "careless": "reject",
        "unlucky": "approve",  # one known answer says too little
        "hasty": "reject",
        "left": "unfinished",
    }
    assert {row.worker: row.bonus for row in rows if row.bonus} == {"good": Decimal("1.10")}
    reasons = [row.reason for row in rows if row.verdict == "reject"]
    assert "3 were judged as the guidelines" in reasons[0]
    assert reasons[1].startswith("80% of the judgements")
    rejected = payments.review([WORKERS[-1]], ReviewRules(reject_unfinished=True))
    assert all(
        len(reason) >= 100 for reason in [*reasons, rejected[0].reason]
    )  # Prolific's minimum
    summary = payments.write_review("prolific", rows, tmp_path / "out")
    assert (summary.approved, summary.rejected, summary.unfinished) == (2, 2, 1)
    assert summary.bonus == 1.1


def test_prolifics_files_are_what_it_reads() -> None:
    files = payments.files_of("prolific", payments.review(WORKERS, RULES))
    assert files["approve.csv"] == "good\nunlucky\n"
    assert files["bonus.csv"] == "good,1.10\n"
    rejected = list(csv.DictReader(io.StringIO(files["reject.csv"])))
    assert [row["submission_id"] for row in rejected] == ["session-careless", "session-hasty"]


def test_mechanical_turks_results_have_an_x_or_a_reason() -> None:
    files = payments.files_of("mturk", payments.review(WORKERS, RULES))
    rows = list(csv.DictReader(io.StringIO(files["results.csv"])))
    assert [(row["AssignmentId"], row["Approve"], bool(row["Reject"])) for row in rows] == [
        ("session-good", "x", False),
        ("session-careless", "", True),
        ("session-unlucky", "x", False),
        ("session-hasty", "", True),
    ]
    (bonus,) = csv.DictReader(io.StringIO(files["bonus.csv"]))
    assert (bonus["WorkerId"], bonus["BonusAmount"]) == ("good", "1.10")


def test_a_review_is_written_by_command_and_downloaded(
    admin: TestClient, signed_in: Client, path: str, demo_store: Store, tmp_path: Path
) -> None:
    signed_in(None).get(path, params=PROLIFIC)
    with demo_store.write() as session:
        session.execute(update(StudySession).values(finished=StudySession.created + 1))
    url = demo_store.engine.url.render_as_string(hide_password=False)
    words = [
        "study",
        "review",
        "prolific",
        "--platform",
        "prolific",
        "--store",
        url,
        "--bonus",
        "2",
    ]
    out = tmp_path / "review"
    result = CliRunner().invoke(cli, [*words, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert (out / "approve.csv").read_text("utf-8") == "5f3\n"
    again = CliRunner().invoke(cli, [*words, "--out", str(out)])
    assert again.exit_code == 2
    base = f"/api/admin/studies/{study_id(admin)}/review"
    bonus = admin.get(f"{base}/prolific/bonus.csv", params={"bonus": 2})
    assert bonus.text == (out / "bonus.csv").read_text("utf-8") == "5f3,2.00\n"
    assert "attachment" in bonus.headers["content-disposition"]
    assert admin.get(f"{base}/mturk/none.csv").status_code == 404


def test_rules_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError, match="--max-too-fast must be between 0 and 1"):
        ReviewRules(max_too_fast=2)
    with pytest.raises(UserError, match="cannot be negative"):
        ReviewRules(bonus=-1)
