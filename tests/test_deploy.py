"""The app behind nginx, with the configuration of docs/deploy.md."""

import re
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from annotator.accounts import sessions
from annotator.web import app
from annotator.web.middleware.bodies import BODY_LIMITS
from db.schema import FailedLogin
from db.store.session import Store
from tests.nginx import CONFIG, HOST, proxied

PASSWORD = "correct horse"


@dataclass
class Site:
    """Clients of the app's public address and of its plain HTTP one, and the streamed answer."""

    https: httpx.Client
    http: httpx.Client
    store: Store
    may_end: threading.Event
    """Lets the answer of /streamed end."""


@pytest.fixture
def site(sqlite_store: Store, tmp_path: Path) -> Iterator[Site]:
    with sqlite_store.write() as session:
        sessions.add_person(session, "ann", "researcher", PASSWORD)
    built, may_end = app.build(sqlite_store, trusted_proxies=["127.0.0.1"]), threading.Event()
    _add_stream(built, may_end)
    with proxied(built, tmp_path) as proxy:
        trust = ssl.create_default_context()
        proxy.authority.configure_trust(trust)
        with (
            httpx.Client(base_url=proxy.https, verify=trust) as https,
            httpx.Client(base_url=proxy.http) as http,
        ):
            for client in (https, http):
                client.headers["host"] = HOST
            yield Site(https, http, sqlite_store, may_end)


def _add_stream(built: FastAPI, may_end: threading.Event) -> None:
    def lines() -> Iterator[str]:
        yield "first\n"
        may_end.wait(30)
        yield "last\n"

    @built.get("/streamed")
    def streamed() -> StreamingResponse:
        return StreamingResponse(lines(), media_type="application/x-ndjson")


def sign_in(client: httpx.Client, password: str, **headers: str) -> httpx.Response:
    return client.post("/login", data={"name": "ann", "password": password}, headers=headers)


def test_plain_http_is_redirected_and_cookies_are_secure(site: Site) -> None:
    moved = site.http.get("/annotate/")
    assert (moved.status_code, moved.headers["location"]) == (301, f"https://{HOST}/annotate/")
    signed_in = sign_in(site.https, PASSWORD, origin=f"https://{HOST}")
    assert signed_in.status_code == 303
    for cookie in signed_in.headers.get_list("set-cookie"):
        assert "Secure" in cookie
        assert "HttpOnly" in cookie
    assert site.https.get("/api/me").json()["name"] == "ann"
    assert "max-age" in signed_in.headers["strict-transport-security"]


def test_attempts_are_counted_for_the_address_that_nginx_sees(site: Site) -> None:
    for n in range(3):
        sign_in(site.https, "wrong", **{"x-forwarded-for": f"203.0.113.{n}"})
    with site.store.read() as session:
        assert set(session.scalars(select(FailedLogin.address))) == {"127.0.0.1"}


def test_an_answer_is_streamed_line_by_line(site: Site) -> None:
    with site.https.stream("GET", "/streamed") as response:
        lines = response.iter_lines()
        assert next(lines) == "first"  # while the app has not sent the last
        site.may_end.set()
        assert next(lines) == "last"


def test_bodies_are_limited_as_the_app_limits_them(site: Site) -> None:
    config = CONFIG.read_text("utf-8")
    limits = re.findall(r"location (/\S*) {\s+client_max_body_size (\d+);", config)
    default = re.findall(r"^    client_max_body_size (\d+);", config, re.MULTILINE)
    assert {"": default[0]} | dict(limits) == {p: str(n) for p, n in BODY_LIMITS.items()}
    sign_in(site.https, PASSWORD)
    body = {"regions": [], "data": "x" * 3_000_000}
    headers = {"x-lskd": "1"}
    assert site.https.post("/api/votes", json=body, headers=headers).status_code == 413
    assert site.https.post("/api/ask", json=body, headers=headers).status_code == 404  # no student


def test_a_request_from_another_site_is_refused(site: Site) -> None:
    assert sign_in(site.https, PASSWORD, origin="https://evil.example").status_code == 403
