"""Sign-in, invitations, accounts, tokens, and studies of crowd workers."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from annotator.accounts import accounts, sessions
from annotator.crowd import studies
from db.schema import FailedLogin, Person, StudySession, Vote
from db.store.session import Store
from regions.errors import UserError

Client = Callable[..., TestClient]
PROLIFIC = {"PROLIFIC_PID": "5f3", "STUDY_ID": "st1", "SESSION_ID": "se1"}


@pytest.fixture
def admin(signed_in: Client, demo_store: Store) -> TestClient:
    with demo_store.write() as session:
        person = session.scalars(select(Person).where(Person.name == "res")).one()
        person.role = "admin"
    return signed_in("res")


# ---- signing in


def test_after_five_wrong_passwords_the_right_one_is_refused_for_a_while(
    signed_in: Client, demo_store: Store
) -> None:
    client = signed_in(None)
    for _ in range(5):
        form = {"name": "ann", "password": "not the one"}
        assert client.post("/login", data=form).status_code == 401
    right = {"name": "ann", "password": "annotator's own"}
    assert client.post("/login", data=right).status_code == 429
    with demo_store.write() as session:  # a quarter of an hour later
        session.execute(update(FailedLogin).values(created=0))
    assert client.post("/login", data=right).status_code == 303


def test_signing_out_everywhere_invalidates_every_cookie(signed_in: Client) -> None:
    here, there = signed_in("ann"), signed_in("ann")
    assert there.get("/api/me").status_code == 200
    here.post("/api/me/sign-out-everywhere")
    assert here.get("/api/me").status_code == there.get("/api/me").status_code == 401


# ---- invitations and accounts


def test_an_invitation_creates_one_account_of_its_role(
    admin: TestClient, signed_in: Client
) -> None:
    path = admin.post("/api/admin/invitations", json={"role": "annotator"}).json()["path"]
    guest = signed_in(None)
    assert "Create account" in guest.get(path).text
    form = {"name": "new", "password": "long enough"}
    assert guest.post(path, data=form).headers["location"] == "/annotate/"
    assert guest.get("/api/me").json()["role"] == "annotator"
    again = signed_in(None).post(path, data={**form, "name": "second"})
    assert again.status_code == 404
    assert "ask for a new one" in again.text


def test_the_invitation_form_explains_what_is_wrong(admin: TestClient, signed_in: Client) -> None:
    path = admin.post("/api/admin/invitations", json={"role": "annotator"}).json()["path"]
    for form, status, message in (
        ({"name": "new", "password": "short"}, 422, "too short"),
        ({"name": "ann", "password": "long enough"}, 409, "already exists"),
        ({"name": "worker 7", "password": "long enough"}, 422, "cannot be an account"),
    ):
        answer = signed_in(None).post(path, data=form)
        assert answer.status_code == status
        assert message in answer.text


def test_a_closed_account_is_signed_out_at_once_and_keeps_its_votes(
    admin: TestClient, signed_in: Client, demo_store: Store
) -> None:
    ann = signed_in("ann")
    body = {"batch": "demo", "triple": 1, "decision": "accept", "key": "a-key-of-ann"}
    assert ann.post("/api/votes", json=body).status_code == 200
    everybody = admin.get("/api/admin/people").json()["people"]
    (row,) = [p for p in everybody if p["name"] == "ann"]
    assert row["votes"] == 1
    admin.patch(f"/api/admin/people/{row['id']}", json={"role": "annotator", "active": False})
    assert ann.get("/api/me").status_code == 401
    assert sessions.sign_in(demo_store, "ann", "annotator's own", "") is None
    with demo_store.read() as session:
        assert session.scalar(select(func.count()).select_from(Vote)) == 1


def test_the_only_admin_cannot_be_demoted(admin: TestClient) -> None:
    everybody = admin.get("/api/admin/people").json()["people"]
    (me,) = [p for p in everybody if p["name"] == "res"]
    answer = admin.patch(
        f"/api/admin/people/{me['id']}", json={"role": "annotator", "active": True}
    )
    assert "the only admin" in answer.json()["error"]


@pytest.mark.parametrize(
    ("role", "forbidden"),
    [
        ("ann", ["/api/research/project", "/api/admin/people", "/project/", "/people/"]),
        ("res", ["/api/admin/people", "/people/"]),
    ],
)
def test_each_role_is_refused_at_higher_paths(
    signed_in: Client, role: str, forbidden: list[str]
) -> None:
    client = signed_in(role)
    assert {client.get(path).status_code for path in forbidden} == {403}


@pytest.mark.slow
def test_no_route_admits_a_lower_role(signed_in: Client) -> None:
    """Every route and method of the OpenAPI document."""
    document = signed_in("res").get("/api/openapi.json").json()
    requested = set()
    for path, methods in document["paths"].items():
        if not path.startswith(("/api/research", "/api/admin")):
            continue
        below = ["ann"] if path.startswith("/api/research") else ["ann", "res"]
        for name in below:
            client = signed_in(name)
            for method in methods:
                answer = client.request(method, path.replace("{", "").replace("}", ""), json={})
                assert answer.status_code == 403, (name, method, path)
                requested.add((name, path))
    assert requested >= {
        ("ann", "/api/research/project"),
        ("ann", "/api/research/votes"),
        ("ann", "/api/admin/people"),
        ("res", "/api/admin/people"),
    }


# ---- tokens


def test_a_script_authenticates_with_a_token(signed_in: Client) -> None:
    token = signed_in("res").post("/api/research/tokens", json={"name": "nightly"}).json()["token"]
    script = signed_in(None)
    script.headers["authorization"] = f"Bearer {token}"
    assert script.get("/api/research/votes").json() == {"votes": [], "next": None}
    assert script.get("/api/admin/people").status_code == 403
    (known,) = script.get("/api/research/tokens").json()
    assert token not in str(known)
    script.delete(f"/api/research/tokens/{known['id']}")
    script.headers["authorization"] = f"Bearer {token}"
    assert token[:5] == accounts.TOKEN_PREFIX


def test_a_revoked_or_invented_token_is_refused(signed_in: Client, demo_store: Store) -> None:
    with demo_store.write() as session:
        person = session.scalars(select(Person).where(Person.name == "res")).one()
        token = accounts.create_token(session, person.id, "old")
        accounts.revoke_token(session, person.id, accounts.list_tokens(session, person.id)[0].id)
    for shown in (token, "lskd_invented"):
        script = signed_in(None)
        script.headers["authorization"] = f"Bearer {shown}"
        assert script.get("/api/research/votes").status_code == 401


# ---- studies


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
    for link in (newer_path, path):
        worker = signed_in(None)
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
    signed_in(None).get(path, params=PROLIFIC)
    answer = signed_in(None).get(newer_path, params=PROLIFIC)
    assert answer.status_code == 409
    assert "finish prolific first" in answer.text


def test_a_returning_worker_is_the_same_person(
    signed_in: Client, path: str, demo_store: Store
) -> None:
    for _ in range(2):
        signed_in(None).get(path, params=PROLIFIC)
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
