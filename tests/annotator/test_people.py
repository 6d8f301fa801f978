"""Sign-in, invitations, accounts, tokens."""

from collections.abc import Callable

from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from annotator.accounts import accounts, sessions
from db.schema import FailedLogin, Person, Vote
from db.store.session import Store

Client = Callable[..., TestClient]


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
