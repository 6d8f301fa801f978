"""Clients of a real app over a real store."""

from collections.abc import Callable, Iterator

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from sqlalchemy import update

from annotator.accounts import passwords, sessions
from annotator.web import app
from db.schema import Person
from db.store.session import Store

Client = Callable[..., TestClient]
PASSWORDS = {"ann": "annotator's own", "res": "researcher's own"}


@pytest.fixture(scope="session", autouse=True)
def _quick_hashes() -> Iterator[None]:
    """Hash passwords with the least work: tests sign in hundreds of times."""
    with pytest.MonkeyPatch.context() as patch:
        quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        patch.setattr(passwords, "_hasher", quick)
        yield


@pytest.fixture
def local(demo_store: Store) -> Iterator[TestClient]:
    """A client of the app without accounts, on this machine."""
    with TestClient(app.build(demo_store), base_url="http://127.0.0.1") as client:
        client.headers["x-lskd"] = "1"
        yield client


@pytest.fixture
def signed_in(demo_store: Store) -> Client:
    """Signs in and returns a client: `signed_in("ann")`, an annotator, or "res", a researcher."""
    with demo_store.write() as session:
        sessions.add_person(session, "ann", "annotator", PASSWORDS["ann"])
        sessions.add_person(session, "res", "researcher", PASSWORDS["res"])
    served = app.build(demo_store)

    def enter(name: str | None) -> TestClient:
        client = TestClient(served, base_url="http://127.0.0.1", follow_redirects=False)
        client.headers["x-lskd"] = "1"
        if name is not None:
            answer = client.post("/login", data={"name": name, "password": PASSWORDS[name]})
            assert answer.status_code == 303
        return client

    return enter


@pytest.fixture
def admin(signed_in: Client, demo_store: Store) -> TestClient:
    """A client of `res`, who is made an admin."""
    with demo_store.write() as session:
        session.execute(update(Person).where(Person.name == "res").values(role="admin"))
    return signed_in("res")
