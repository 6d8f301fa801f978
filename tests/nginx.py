"""The app behind nginx, with the configuration of docs/deploy.md, on free ports."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme
from fastapi import FastAPI

from tests.servers import free_port, serving

CONFIG = Path(__file__).parent.parent / "deploy" / "nginx.conf"
HOST = "studio.example.org"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@dataclass(frozen=True)
class Proxy:
    """The addresses of the site, and the authority of its certificate."""

    https: str
    http: str
    authority: trustme.CA


@contextmanager
def proxied(app: FastAPI, folder: Path, root_path: str = "") -> Iterator[Proxy]:
    """Serve an app behind nginx, below `root_path`."""
    if NGINX is None:
        if os.environ.get("LSKD_TEST_ALL"):
            pytest.fail("nginx is missing, and LSKD_TEST_ALL says that nothing may be skipped")
        pytest.skip("no nginx: apt-get install nginx-light")
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST, "localhost")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "chain.pem")
    ports = {"http": free_port(), "https": free_port()}
    with serving(app, proxy_headers=False) as upstream:
        config = _configuration(folder, upstream, ports, root_path)
        nginx = subprocess.Popen([NGINX, "-c", str(config), "-p", str(folder)])
        try:
            http = f"http://localhost:{ports['http']}"
            _wait_for(http)
            yield Proxy(f"https://localhost:{ports['https']}", http, authority)
        finally:
            nginx.terminate()
            nginx.wait()


def _configuration(folder: Path, upstream: str, ports: dict[str, int], root_path: str) -> Path:
    """The documented site with the ports and the certificate of this test."""
    site = CONFIG.read_text("utf-8")
    for documented, ours in {
        "listen 80;": f"listen 127.0.0.1:{ports['http']};",
        "listen 443 ssl;": f"listen 127.0.0.1:{ports['https']} ssl;",
        "/etc/letsencrypt/live/studio.example.org/fullchain.pem": str(folder / "chain.pem"),
        "/etc/letsencrypt/live/studio.example.org/privkey.pem": str(folder / "key.pem"),
        "http://127.0.0.1:7860;": f"{upstream};",
        "Host $host;": "Host $http_host;",  # with the port, which is not the default one here
    }.items():
        assert documented in site
        site = site.replace(documented, ours)
    if root_path:
        site = re.sub(
            r"location (/\S*) {(.*?proxy_pass [^;]*);",
            rf"location {root_path}\1 {{\2\1;",
            site,
            flags=re.DOTALL,
        )
    temporary = "\n".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\n{site} }}\n",
        "utf-8",
    )
    return config


def _wait_for(url: str) -> None:
    for _ in range(200):
        try:
            httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("nginx does not answer")
