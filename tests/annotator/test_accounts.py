"""Passwords, reset links, roles of live sessions, and the limits on sign-in attempts."""

import re
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from argon2 import PasswordHasher
from click.testing import CliRunner
from fastapi.testclient import TestClient
from sqlalchemy import select, text, update

from annotator.accounts import accounts, password_changes, passwords, sessions
from annotator.accounts.throttle import MAX_FAILURES, TooManyAttemptsError
from annotator.web import app
from db.schema import FailedLogin, PasswordReset, Person
from db.store.session import Store
from lskd_cli import cli
from regions.errors import ConflictError, InvalidError, NotFoundError
from tests.annotator.conftest import PASSWORDS

Client = Callable[..., TestClient]
NEW = "a longer password"


@pytest.fixture
def admin(signed_in: Client, demo_store: Store) -> TestClient:
    with demo_store.write() as session:
        session.execute(update(Person).where(Person.name == "res").values(role="admin"))
    return signed_in("res")


def id_of(store: Store, name: str) -> int:
    with store.read() as session:
        return sessions.account_by_name(session, name).id


def guess(client: TestClient, name: str, password: str = "not the one") -> int:
    return client.post("/login", data={"name": name, "password": password}).status_code


# ---- limits on attempts


def test_of_fifty_guesses_at_once_five_are_verified(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.write() as session:
        sessions.add_person(session, "ann", "admin", PASSWORDS["ann"])
    verified = Counter[str]()
    verify = passwords.is_correct

    def count(password: str, stored_hash: str | None) -> bool:
        verified[password] += 1
        return verify(password, stored_hash)

    monkeypatch.setattr(passwords, "is_correct", count)

    def attempt(n: int) -> bool:
        try:
            return sessions.sign_in(store, "ann", f"guess {n}", "192.0.2.1") is not None
        except TooManyAttemptsError:
            return False

    with ThreadPoolExecutor(50) as pool:
        assert not any(pool.map(attempt, range(50)))
    assert verified.total() == MAX_FAILURES["pair"]


def test_a_refused_attempt_computes_no_hash(
    signed_in: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = signed_in(None)
    for _ in range(5):
        guess(client, "ann")

    def fail(*_: object) -> None:
        pytest.fail("a hash was computed")

    monkeypatch.setattr(PasswordHasher, "verify", fail)
    assert guess(client, "ann") == 429


def test_a_forged_header_does_not_change_the_address(demo_store: Store, signed_in: Client) -> None:
    client = signed_in(None)
    statuses = []
    for n in range(6):
        client.headers["x-forwarded-for"] = f"198.51.100.{n}"
        statuses.append(guess(client, "ann"))
    assert statuses == [401] * 5 + [429]
    with demo_store.read() as session:
        assert {*session.scalars(select(FailedLogin.address))} == {"testclient"}


def test_behind_a_trusted_proxy_the_last_untrusted_address_counts(
    demo_store: Store, signed_in: Client
) -> None:
    signed_in(None)  # adds the accounts
    served = app.build(demo_store, trusted_proxies=["10.0.0.0/8"])
    proxy = TestClient(served, base_url="http://lskd.example", client=("10.0.0.1", 1))
    proxy.headers["x-forwarded-proto"] = "https"
    for client in range(2):  # what a client claims is to the left of what the proxies saw
        for n in range(5):
            proxy.headers["x-forwarded-for"] = f"203.0.113.{n}, 198.51.100.{client}, 10.0.0.2"
            assert guess(proxy, "ann") == 401
        assert guess(proxy, "ann", PASSWORDS["ann"]) == 429
    with demo_store.read() as session:
        addresses = {*session.scalars(select(FailedLogin.address))}
    assert addresses == {"198.51.100.0", "198.51.100.1"}
    proxy.headers["x-forwarded-for"] = "198.51.100.7"
    form = {"name": "ann", "password": PASSWORDS["ann"]}
    answer = proxy.post("/login", data=form, follow_redirects=False)
    assert all("secure" in cookie.lower() for cookie in answer.headers.get_list("set-cookie"))


def test_an_app_behind_a_proxy_needs_accounts_and_a_valid_address(demo_store: Store) -> None:
    with pytest.raises(Exception, match="no accounts"):
        app.build(demo_store, trusted_proxies=["10.0.0.1"])
    with pytest.raises(InvalidError, match="not the address or network of a proxy: 'nginx'"):
        app.build(demo_store, trusted_proxies=["nginx"])


def test_guesses_of_strangers_do_not_lock_a_person_out_of_their_browser(
    signed_in: Client, demo_store: Store
) -> None:
    own = signed_in("ann")
    own.post("/logout")
    stranger = signed_in(None)
    for n in range(MAX_FAILURES["name"]):
        assert sessions.sign_in(demo_store, "ann", "guess", f"192.0.2.{n}") is None
    assert guess(stranger, "ann", PASSWORDS["ann"]) == 429
    assert guess(own, "ann", PASSWORDS["ann"]) == 303
    own.post("/logout")
    for _ in range(MAX_FAILURES["device"]):
        assert guess(own, "ann") == 401
    assert guess(own, "ann", PASSWORDS["ann"]) == 429


def test_a_device_is_known_for_those_who_have_signed_in_with_it(
    signed_in: Client, demo_store: Store
) -> None:
    device = signed_in("ann").cookies["lskd-device"]
    for n in range(MAX_FAILURES["name"]):
        sessions.sign_in(demo_store, "res", "guess", f"192.0.2.{n}")
    with pytest.raises(TooManyAttemptsError):
        sessions.sign_in(demo_store, "res", PASSWORDS["res"], "198.51.100.1", device)
    with demo_store.write() as session:
        session.execute(update(FailedLogin).values(created=0))
    both = sessions.sign_in(demo_store, "res", PASSWORDS["res"], "198.51.100.1", device)
    assert both is not None
    assert both.device == device
    planted = sessions.sign_in(demo_store, "res", PASSWORDS["res"], "198.51.100.1", "planted")
    assert planted is not None
    assert planted.device != "planted"


def test_a_password_changed_during_a_sign_in_ends_it(
    signed_in: Client, demo_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_in(None)
    verify = passwords.is_correct

    def change_meanwhile(password: str, stored_hash: str | None) -> bool:
        with demo_store.write() as session:
            password_changes.set_password(session, id_of(demo_store, "ann"), NEW)
        return verify(password, stored_hash)

    monkeypatch.setattr(passwords, "is_correct", change_meanwhile)
    assert sessions.sign_in(demo_store, "ann", PASSWORDS["ann"], "") is None


# ---- one's own password


def test_changing_the_password_ends_other_sessions(signed_in: Client) -> None:
    here, there = signed_in("ann"), signed_in("ann")
    assert "Change password" in here.get("/account").text
    form = {"current": PASSWORDS["ann"], "new": NEW}
    assert "Your password is changed" in here.post("/account", data=form).text
    assert here.get("/api/me").status_code == 200
    assert there.get("/api/me").status_code == 401
    assert guess(signed_in(None), "ann", PASSWORDS["ann"]) == 401
    assert guess(signed_in(None), "ann", NEW) == 303


def test_a_wrong_current_password_changes_nothing_and_is_counted(signed_in: Client) -> None:
    ann = signed_in("ann")
    for form, status, message in (
        ({"current": PASSWORDS["ann"], "new": "short"}, 422, "too short"),
        ({"current": PASSWORDS["ann"], "new": "x" * 1001}, 422, "too long"),
        *[({"current": "a guess", "new": NEW}, 422, "current password is wrong")] * 5,
        ({"current": PASSWORDS["ann"], "new": NEW}, 429, "too many wrong passwords"),
    ):
        answer = ann.post("/account", data=form)
        assert answer.status_code == status
        assert message in answer.text.lower()


def test_without_accounts_there_is_no_password_to_change(local: TestClient) -> None:
    assert "This app has no accounts" in local.get("/account").text


@pytest.mark.parametrize("by", ["page", "api", "admin"])
def test_signing_out_everywhere_also_revokes_tokens_and_links(
    admin: TestClient, signed_in: Client, demo_store: Store, by: str
) -> None:
    ann, person = signed_in("ann"), id_of(demo_store, "ann")
    with demo_store.write() as session:
        token = accounts.create_token(session, person, "nightly")
        reset = password_changes.create_reset(session, person)
    script = signed_in(None)
    script.headers["authorization"] = f"Bearer {token}"
    assert ann.get("/api/me").status_code == script.get("/api/me").status_code == 200
    client, path = {
        "page": (ann, "/account/sign-out-everywhere"),
        "api": (ann, "/api/me/sign-out-everywhere"),
        "admin": (admin, f"/api/admin/people/{person}/sign-out-everywhere"),
    }[by]
    assert client.post(path).status_code in {200, 303}
    assert ann.get("/api/me").status_code == script.get("/api/me").status_code == 401
    assert signed_in(None).get(f"/reset/{reset}").status_code == 404


# ---- reset links


def test_a_reset_link_sets_a_password_once_and_ends_everything_else(
    admin: TestClient, signed_in: Client, demo_store: Store
) -> None:
    ann, person = signed_in("ann"), id_of(demo_store, "ann")
    with demo_store.write() as session:
        token = accounts.create_token(session, person, "nightly")
    path = admin.post(f"/api/admin/people/{person}/password-reset").json()["path"]
    assert ann.get("/api/me").status_code == 200  # until it is used
    guest = signed_in(None)
    assert "ann" in guest.get(path).text
    assert guest.post(path, data={"new": "short"}).status_code == 422
    assert guest.post(path, data={"new": NEW}).headers["location"] == "/annotate/"
    assert guest.get("/api/me").json()["name"] == "ann"
    script = signed_in(None)
    script.headers["authorization"] = f"Bearer {token}"
    assert ann.get("/api/me").status_code == script.get("/api/me").status_code == 401
    assert signed_in(None).post(path, data={"new": "another password"}).status_code == 404
    assert guess(signed_in(None), "ann", NEW) == 303


def test_a_reset_link_expires_and_its_secret_is_not_stored(
    signed_in: Client, demo_store: Store
) -> None:
    signed_in(None)
    with demo_store.write() as session:
        secret = password_changes.create_reset(session, id_of(demo_store, "ann"))
    with demo_store.read() as session:
        stored = session.execute(text("SELECT * FROM password_resets")).all()
        assert secret not in str(stored)
        assert password_changes.reset_owner(session, secret).name == "ann"
    with demo_store.write() as session:
        session.execute(update(PasswordReset).values(expires=0))
    with pytest.raises(NotFoundError, match="has expired"):
        password_changes.use_reset(demo_store, secret, NEW)


def test_a_closed_account_is_not_opened_by_its_link(signed_in: Client, demo_store: Store) -> None:
    signed_in(None)
    person = id_of(demo_store, "ann")
    with demo_store.write() as session:
        secret = password_changes.create_reset(session, person)
        session.execute(update(Person).where(Person.id == person).values(active=False))
    assert signed_in(None).post(f"/reset/{secret}", data={"new": NEW}).status_code == 404


def test_people_without_a_password_get_no_link(admin: TestClient, demo_store: Store) -> None:
    with demo_store.write() as session:
        worker = Person(name="worker 7", role="annotator", created=0)
        session.add(worker)
        session.flush()
        path = f"/api/admin/people/{worker.id}/password-reset"
    assert "has no password" in admin.post(path).json()["error"]


def test_a_link_used_twice_at_the_same_moment_works_once(store: Store) -> None:
    with store.write() as session:
        lead = sessions.add_person(session, "lead", "admin", PASSWORDS["res"]).id
        reset = password_changes.create_reset(session, lead)
        invitation = accounts.create_invitation(session, "annotator", lead)

    def reset_password(n: int) -> None:
        password_changes.use_reset(store, reset, f"password {n}")

    def make_account(n: int) -> None:
        accounts.accept_invitation(store, invitation, f"guest {n}", NEW)

    for use in (reset_password, make_account):
        with ThreadPoolExecutor(8) as pool:
            errors = [future.exception() for future in [pool.submit(use, n) for n in range(8)]]
        assert errors.count(None) == 1
        assert {type(error) for error in errors} == {type(None), NotFoundError}


# ---- roles


def test_a_changed_role_applies_to_live_sessions_and_tokens(
    admin: TestClient, signed_in: Client, demo_store: Store
) -> None:
    ann, person = signed_in("ann"), id_of(demo_store, "ann")
    with demo_store.write() as session:
        token = accounts.create_token(session, person, "nightly")
    script = signed_in(None)
    script.headers["authorization"] = f"Bearer {token}"
    for role, status in (("researcher", 200), ("annotator", 403)):
        change = {"role": role, "active": True}
        assert admin.patch(f"/api/admin/people/{person}", json=change).status_code == 200
        for client in (ann, script):
            assert client.get("/api/research/votes").status_code == status


def test_of_two_admins_who_demote_each_other_one_remains(store: Store) -> None:
    with store.write() as session:
        ids = [
            sessions.add_person(session, name, "admin", PASSWORDS["res"]).id for name in ("a", "b")
        ]
    start = threading.Barrier(2)

    def demote(person: int) -> None:
        start.wait()
        with suppress(ConflictError), store.write() as session:
            accounts.update_account(session, person, role="annotator", active=True)

    is_admin = Person.role == "admin"
    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            list(pool.map(demote, ids))
            with store.write() as session:
                assert len(session.scalars(select(Person.id).where(is_admin)).all()) == 1
                session.execute(update(Person).values(role="admin"))


@pytest.mark.parametrize("name", ["a\x1b[31mb", "two\nlines", "a\u202eb", "", "local", "worker 7"])
def test_a_name_that_cannot_be_printed_is_refused(demo_store: Store, name: str) -> None:
    with (
        pytest.raises(InvalidError, match="cannot be an account's name"),
        demo_store.write() as session,
    ):
        sessions.add_person(session, name, "annotator", NEW)


# ---- commands


def test_an_admin_manages_accounts_on_the_command_line(
    signed_in: Client, demo_store: Store
) -> None:
    ann = signed_in("ann")
    url = f"sqlite:///{demo_store.folder}/store.db"

    def users(*words: str) -> str:
        result = CliRunner().invoke(cli, ["users", *words, "--store", url])
        assert result.exit_code == 0, result.output
        return result.output.strip()

    assert users("update", "ann", "--role", "researcher") == (
        "ann has the role researcher and is active"
    )
    path = users("reset", "ann")
    assert re.fullmatch(r"/reset/[\w-]{32}", path)
    assert "signed ann out everywhere" in users("sign-out", "ann")
    assert signed_in(None).get(path).status_code == 404
    users("password", "ann", "--password", NEW)
    assert guess(signed_in(None), "ann", NEW) == 303
    users("update", "ann", "--closed")
    assert guess(signed_in(None), "ann", NEW) == 401
    with demo_store.read() as session:  # as another process sees it
        assert sessions.authenticate(session, ann.cookies["lskd"]) is None
