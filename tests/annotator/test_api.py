"""The JSON API: its responses, and who may use it."""

import io
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import PIL.Image
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from annotator.accounts import throttle
from annotator.web import app, errors, server
from annotator.web.security import REQUIRED_ROLES
from db.schema import Image, Vote
from db.store.session import Store
from regions.errors import ConflictError, InvalidError, NotFoundError, UserError
from tests.servers import free_port

Client = Callable[..., TestClient]
ROOT = Path(__file__).parent.parent.parent
BODY = {"batch": "demo", "triple": 1, "decision": "accept", "key": "a-key-of-mine"}


def test_a_newcomer_labels_without_signing_in(local: TestClient) -> None:
    (batch,) = local.get("/api/batches").json()
    assert (batch["name"], batch["votes_required"], batch["mine"]) == ("demo", 3, 0)
    following = local.get("/api/next", params={"batch": "demo", "count": 2}).json()
    first, second = following["items"]
    body = {**BODY, "triple": first["triple"], "ahead": 2}
    saved = local.post("/api/votes", json=body).json()
    assert saved["saved"] is True
    (third,) = saved["items"]
    assert len({item["triple"] for item in (first, second, third)}) == 3
    undone = local.post("/api/undo", json={"key": BODY["key"]}).json()
    assert undone["item"] == first


def test_a_refused_vote_is_explained(local: TestClient) -> None:
    local.post("/api/votes", json=BODY)
    again = local.post("/api/votes", json={**BODY, "key": "another-key"})
    assert again.status_code == 409
    assert "already judged this triple" in again.json()["error"]


@pytest.mark.parametrize(
    "change",
    [
        {"decision": "maybe"},
        {"triple": -1},
        {"key": "short"},
        {"reasons": ["ugly"]},
        {"batch": 7},
    ],
)
def test_an_invalid_vote_is_refused(local: TestClient, change: dict[str, object]) -> None:
    answer = local.post("/api/votes", json={**BODY, **change})
    assert answer.status_code == 422
    assert next(iter(change)) in answer.json()["error"]


def test_an_unknown_batch_is_answered_in_one_sentence(local: TestClient) -> None:
    answer = local.get("/api/next", params={"batch": "none"})
    assert answer.status_code == 404
    assert answer.json() == {"error": "no batch named 'none': create one with `lskd batch`"}


def test_an_image_is_scaled_to_the_requested_width(local: TestClient) -> None:
    answer = local.get("/images/1", params={"width": 300})
    picture = PIL.Image.open(io.BytesIO(answer.content))
    assert (picture.format, picture.width) == ("JPEG", 320)
    assert "private" in answer.headers["cache-control"]
    assert not picture.getexif()


def test_an_image_is_never_enlarged(local: TestClient, demo_store: Store) -> None:
    with demo_store.read() as session:
        width = session.scalars(select(Image.width).where(Image.id == 1)).one()
    answer = local.get("/images/1", params={"width": 9999})
    assert PIL.Image.open(io.BytesIO(answer.content)).width == width


def test_a_missing_image_is_reported(local: TestClient) -> None:
    assert local.get("/images/9999").json() == {"error": "no such image (9999)"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFoundError("no such image"), 404),
        (ConflictError("a batch named 'a' already exists"), 409),
        (InvalidError("accuracy must be between 0 and 1 (got 2.0)"), 422),
        (UserError("the disk is full"), 400),
        (throttle.TooManyAttemptsError("too many wrong passwords"), 429),
    ],
)
def test_each_kind_of_user_error_has_its_status(error: UserError, status: int) -> None:
    served = FastAPI()
    errors.add_exception_handlers(served)

    @served.get("/")
    def fail() -> None:
        raise error

    answer = TestClient(served).get("/")
    assert (answer.status_code, answer.json()) == (status, {"error": str(error)})


# ---- access


def test_every_protected_path_requires_signing_in(signed_in: Client) -> None:
    visitor = signed_in(None)
    for path in sorted(REQUIRED_ROLES):
        assert visitor.get(path + "/").status_code == 401, path
        page = visitor.get(path + "/", headers={"accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, f"/login?next={path}/")


def test_an_annotator_gets_403_from_a_researchers_page(signed_in: Client) -> None:
    ann = signed_in("ann")
    for path in ("", "config", "gradio_api/info", "gradio_api/startup-events"):
        assert ann.get(f"/critic/{path}").status_code == 403, path
    assert signed_in("res").get(path).status_code != 403


def test_an_annotator_cannot_call_a_researchers_function(signed_in: Client) -> None:
    body = {"data": {}, "fn_name": "overview", "component_id": 1, "session_hash": "x"}
    for path in ("/critic/gradio_api/component_server", "/critic/gradio_api/run/predict"):
        assert signed_in("ann").post(path, json=body).status_code == 403


def test_a_wrong_password_and_an_unknown_name_look_the_same(signed_in: Client) -> None:
    client = signed_in(None)
    texts = set()
    for name in ("ann", "nobody"):
        answer = client.post("/login", data={"name": name, "password": "not the one"})
        assert answer.status_code == 401
        texts.add(answer.text)
    assert len(texts) == 1


def test_the_cookie_is_hidden_from_scripts_and_other_sites(signed_in: Client) -> None:
    client = signed_in(None)
    answer = client.post("/login", data={"name": "ann", "password": "annotator's own"})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_signing_out_invalidates_the_cookie(signed_in: Client) -> None:
    client = signed_in("ann")
    cookie = client.cookies["lskd"]
    client.post("/logout")
    assert client.get("/api/batches", headers={"cookie": f"lskd={cookie}"}).status_code == 401


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_signing_in_never_redirects_to_another_site(signed_in: Client, target: str) -> None:
    form = {"name": "ann", "password": "annotator's own", "next": target}
    answer = signed_in(None).post("/login", data=form)
    assert answer.headers["location"] == "/annotate/"


def test_another_sites_page_cannot_vote(local: TestClient) -> None:
    for headers in (
        {"sec-fetch-site": "cross-site"},
        {"origin": "https://evil.example"},
    ):
        answer = local.post("/api/votes", json=BODY, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (
            403,
            "the request came from another site",
        )
    del local.headers["x-lskd"]
    assert local.post("/api/votes", json=BODY).status_code == 403


def test_an_unknown_host_name_is_refused(local: TestClient) -> None:
    assert local.get("/annotate/", headers={"host": "evil.example"}).status_code == 400


def test_every_response_has_a_content_security_policy(local: TestClient) -> None:
    """Only Gradio's pages may run inline scripts."""
    for path in ("/annotate/", "/api/batches", "/images/1", "/login", "/account", "/nowhere"):
        headers = local.get(path).headers
        policy = headers["content-security-policy"]
        assert ("unsafe" in policy) == (path == "/annotate/"), path
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


def test_what_is_a_persons_is_not_cached(local: TestClient) -> None:
    for path in ("/annotate/", "/api/me", "/login", "/account", "/api/admin/people", "/nowhere"):
        assert local.get(path).headers["cache-control"] == "no-store", path
    (asset,) = {*re.findall(r'src="(\./assets/index-[^"]+)"', local.get("/annotate/").text)}
    assert local.get("/annotate/" + asset).headers.get("cache-control") != "no-store"


def test_the_network_is_not_served_without_accounts(demo_store: Store) -> None:
    with pytest.raises(UserError, match=r"no accounts.*0\.0\.0\.0.*lskd users add"):
        app.build(demo_store, host="0.0.0.0")


def test_a_port_in_use_is_reported() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} is in use.*--port"):
            server.check_port("127.0.0.1", port)


@pytest.mark.slow
def test_an_acknowledged_vote_survives_a_kill(demo_store: Store) -> None:
    port = free_port()
    url = demo_store.engine.url.render_as_string()
    served = subprocess.Popen(
        [sys.executable, "-m", "lskd", "app", "--store", url, "--port", str(port)], cwd=ROOT
    )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                httpx.get(address + "/healthz")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        answer = httpx.post(address + "/api/votes", json=BODY, headers={"x-lskd": "1"})
        assert answer.json()["saved"] is True
    finally:
        served.send_signal(signal.SIGKILL)
        served.wait()
    with demo_store.read() as session:
        assert session.scalars(select(Vote.key)).all() == [BODY["key"]]
