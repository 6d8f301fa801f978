"""Clients that crash, repeat and hang up, and a server that is killed in between.

`LSKD_CHAOS=20000 pytest tests/annotator/test_chaos.py` is the whole of it, with fifty kills.
"""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from sqlalchemy import func, select

from annotator.accounts import sessions
from db.labelling.batches import make_batch
from db.schema import BatchItem, Image, Lease, Person, Source, Triple, Vote
from db.store.session import Store

pytestmark = pytest.mark.slow

DECISIONS = int(os.environ.get("LSKD_CHAOS", "1600"))
KILLS = DECISIONS // 400
CLIENTS, WANTED = 64, 3
HERE = Path(__file__).parent


class Server:
    """The API in a process of its own, which can be killed at any moment and started again."""

    def __init__(self, url: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._command = [sys.executable, str(HERE / "serve_api.py"), url, str(self.port)]
        self._folder = folder
        self.start()

    def start(self) -> None:
        env = {**os.environ, "LSKD_FOLDER": str(self._folder), "PYTHONPATH": str(HERE.parents[1])}
        self._process = subprocess.Popen(self._command, env=env)
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            assert self._process.poll() is None, "the server does not start"
            time.sleep(0.05)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


class Client(threading.Thread):
    """Votes as fast as it can, and behaves badly one time in five."""

    def __init__(self, number: int, cookie: str, port: int, run: "Run") -> None:
        super().__init__(daemon=True)
        self.number, self.cookie, self.port, self.shared = number, cookie, port, run
        self.chance = random.Random(number)
        self.tab = 0

    def run(self) -> None:
        count = 0
        while not self.shared.over.is_set():
            items = self._ask("GET", f"/api/next?batch=all&tab={self.tab}&count=4", None)["items"]
            if not items:
                time.sleep(0.2)
            for item in items:
                count += 1
                vote = {
                    "key": f"client-{self.number}-{count}",
                    "batch": "all",
                    "triple": item["triple"],
                    "decision": self.chance.choice(["accept", "reject", "skip"]),
                    "tab": str(self.tab),
                }
                mood = self.chance.random()
                if mood < 0.05:
                    self.tab += 1  # crashes: what it held is forgotten
                    break
                if mood < 0.15:
                    self._hang_up(vote)
                if self._ask("POST", "/api/votes", vote).get("saved"):
                    self.shared.acknowledged(vote["key"])
                if mood > 0.95:
                    self._ask("POST", "/api/votes", vote)  # says it again

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """Ask until there is an answer, as the page's outbox does."""
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            try:
                connection.request(method, path, json.dumps(body) if body else None, self._head())
                answer = connection.getresponse()
                found: dict[str, Any] = json.loads(answer.read())
                if answer.status in {200, 409}:
                    return found
                self.shared.wrong.append(f"{answer.status} {found}")
            except (OSError, http.client.HTTPException, ValueError):
                if self.shared.over.is_set():
                    return {"items": []}
                time.sleep(0.05)
            finally:
                connection.close()

    def _hang_up(self, body: dict[str, Any]) -> None:
        """Send a vote and go before the answer comes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("POST", "/api/votes", json.dumps(body), self._head())
        except OSError:
            pass
        finally:
            connection.close()

    def _head(self) -> dict[str, str]:
        return {
            "cookie": f"lskd={quote(self.cookie)}",
            "x-lskd": "1",
            "content-type": "application/json",
        }


class Run:
    """What all clients share."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.wrong: list[str] = []
        self.over = threading.Event()
        self._lock = threading.Lock()

    def acknowledged(self, key: str) -> None:
        with self._lock:
            self.keys.append(key)
            if len(self.keys) >= DECISIONS:
                self.over.set()


def fill(store: Store) -> list[str]:
    """More than enough triples, and a cookie for each client."""
    with store.write() as session:
        session.add(Source(id=1, name="s", root="/nowhere"))
        session.flush()
        session.add(Image(id=1, source_id=1, name="a.jpg", width=100, height=80))
        session.flush()
        session.add_all(
            Triple(
                key=f"{i}",
                image_id=1,
                question="q",
                answer="a",
                rationale="r",
                visible_regions=[],
                source="s",
            )
            for i in range(DECISIONS // WANTED + 5 * CLIENTS)
        )
        session.flush()
        ids = list(session.scalars(select(Triple.id)))
        make_batch(session, "all", ids, votes_required=WANTED, rng=np.random.default_rng(0))
        people = [Person(name=f"p{n}", role="annotator", created=0) for n in range(CLIENTS)]
        people[0].password_hash = "there are accounts"
        session.add_all(people)
        session.flush()
        return [sessions.create_login(session, person.id) for person in people]


def test_no_vote_is_lost_and_no_triple_gets_too_many(store: Store, tmp_path: Path) -> None:
    cookies = fill(store)
    url = store.engine.url.render_as_string(hide_password=False)
    server, run = Server(url, tmp_path), Run()
    clients = [Client(n, cookie, server.port, run) for n, cookie in enumerate(cookies)]
    for client in clients:
        client.start()
    for kill in range(1, KILLS):
        while len(run.keys) < kill * DECISIONS // KILLS and not run.over.is_set():
            time.sleep(0.01)
        server.kill()
        server.start()
    run.over.wait(600)
    for client in clients:
        client.join(30)
    server.kill()

    assert run.wrong == []
    assert len(run.keys) >= DECISIONS
    with store.read() as session:
        votes = session.execute(
            select(Vote.key, Vote.triple_id, Vote.person_id, Vote.decision, Vote.withdrawn)
        ).all()
        leases = dict(
            session.execute(select(Lease.position, func.count()).group_by(Lease.position)).all()
        )
        places = session.execute(
            select(BatchItem.position, BatchItem.triple_id, BatchItem.slots_used)
        ).all()
    assert set(run.keys) <= {vote.key for vote in votes}, "an acknowledged vote is gone"
    assert max(Counter((v.triple_id, v.person_id) for v in votes).values()) == 1
    counted = Counter(v.triple_id for v in votes if v.decision != "skip")
    assert max(counted.values()) <= WANTED
    for place in places:
        assert place.slots_used == counted[place.triple_id] + leases.get(place.position, 0)
