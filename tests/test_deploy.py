"""The app behind nginx, with the configuration of docs/deploy.md."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from annotator.accounts import sessions
from annotator.web import app
from annotator.web.middleware.bodies import BODY_LIMITS
from db.schema import FailedLogin
from db.store.session import Store

CONFIG = Path(__file__).parent.parent / "deploy" / "nginx.conf"
HOST = "studio.example.org"
PASSWORD = "correct horse"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@dataclass
class Site:
    """The app's public address, its plain HTTP one, and what the test may do with the app."""

    https: httpx.Client
    http: httpx.Client
    store: Store
    go_on: threading.Event
    """Lets the streamed answer of /streamed end."""


@pytest.fixture
def site(sqlite_store: Store, tmp_path: Path) -> Iterator[Site]:
    if NGINX is None:
        if os.environ.get("LSKD_TEST_ALL"):
            pytest.fail("nginx is missing, and LSKD_TEST_ALL says that nothing may be skipped")
        pytest.skip("no nginx: apt-get install nginx-light")
    with sqlite_store.write() as session:
        sessions.add_person(session, "ann", "researcher", PASSWORD)
    built, go_on = app.build(sqlite_store, trusted_proxies=["127.0.0.1"]), threading.Event()
    _add_stream(built, go_on)
    server = uvicorn.Server(
        uvicorn.Config(built, port=0, log_level="error", proxy_headers=False, access_log=False)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST, "localhost")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
    ports = {"http": _free_port(), "https": _free_port()}
    config = _configuration(tmp_path, server.servers[0].sockets[0].getsockname()[1], ports)
    nginx = subprocess.Popen([NGINX, "-c", str(config), "-p", str(tmp_path)])
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with (
        httpx.Client(base_url=f"https://localhost:{ports['https']}", verify=trust) as https,
        httpx.Client(base_url=f"http://localhost:{ports['http']}") as http,
    ):
        for client in (https, http):
            client.headers["host"] = HOST
        _wait_for(http)
        yield Site(https, http, sqlite_store, go_on)
    nginx.terminate()
    nginx.wait()
    server.should_exit = True
    thread.join(10)


def _add_stream(built: FastAPI, go_on: threading.Event) -> None:
    def lines() -> Iterator[str]:
        yield "first\n"
        go_on.wait(30)
        yield "last\n"

    @built.get("/streamed")
    def streamed() -> StreamingResponse:
        return StreamingResponse(lines(), media_type="application/x-ndjson")


def _configuration(folder: Path, upstream: int, ports: dict[str, int]) -> Path:
    """The documented site with the ports and the certificate of this test."""
    site = CONFIG.read_text("utf-8")
    for documented, ours in {
        "listen 80;": f"listen 127.0.0.1:{ports['http']};",
        "listen 443 ssl;": f"listen 127.0.0.1:{ports['https']} ssl;",
        "/etc/letsencrypt/live/studio.example.org/fullchain.pem": str(folder / "chain.pem"),
        "/etc/letsencrypt/live/studio.example.org/privkey.pem": str(folder / "key.pem"),
        "http://127.0.0.1:7860;": f"http://127.0.0.1:{upstream};",
    }.items():
        assert documented in site
        site = site.replace(documented, ours)
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{name}_temp_path {folder}/{name};" for name in names)
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\n{site} }}\n",
        "utf-8",
    )
    return config


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(client: httpx.Client) -> None:
    for _ in range(200):
        try:
            client.get("/")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("nginx does not answer")


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
        site.go_on.set()
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
