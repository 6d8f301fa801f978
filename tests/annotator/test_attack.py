"""Hostile clients against a server that is killed, while batches and studies close and open.

64 clients, a quarter of them crowd workers with a quota, vote, skip, repeat requests, hang up,
forget their leases, undo, correct, and vote on what they do not hold. Meanwhile leases expire, and
the batch and the study close and open again.

`LSKD_ATTACK=20000 pytest -s tests/annotator/test_attack.py` is the whole of it, with fifty kills;
it prints what was acknowledged, lost, doubled, over a limit, and refused by which rule.
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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from sqlalchemy import Connection, func, select, text, update

from annotator.accounts import sessions
from annotator.labelling import invariants
from annotator.studies import joining, platforms, studies
from db.labelling.batches import make_batch
from db.schema import Batch, Image, Lease, Person, Source, Study, Triple, Vote
from db.store.session import Store
from tests.servers import free_port

pytestmark = pytest.mark.slow

DECISIONS = int(os.environ.get("LSKD_ATTACK", "1200"))
"""Acknowledged votes after which the attack ends."""
KILLS = DECISIONS // 400
CLIENTS, WORKERS = 64, 16
VOTES_REQUIRED = 3
QUOTA = DECISIONS // (2 * CLIENTS)
HERE = Path(__file__).parent


class Server:
    """The API in a process of its own, which can be killed at any moment and started again."""

    def __init__(self, url: str, folder: Path) -> None:
        self.port = free_port()
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


@dataclass
class Attack:
    """What all clients share."""

    acknowledged: Counter[str] = field(default_factory=Counter)
    """Acknowledged requests by kind."""
    refused: Counter[str] = field(default_factory=Counter)
    """Refusals by their message."""
    errors: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, kind: str) -> None:
        with self.lock:
            self.acknowledged[kind] += 1
            if self.acknowledged["votes"] >= DECISIONS:
                self.over.set()

    def refuse(self, answer: dict[str, Any]) -> None:
        with self.lock:
            self.refused[str(answer.get("error"))] += 1


class Client(threading.Thread):
    """Votes as fast as it can, and behaves badly one time in three.

    It remembers what was acknowledged. A repeated undo is refused, whether or not the first was
    stored: then the triple's vote is unknown.
    """

    def __init__(self, number: int, cookie: str, port: int, attack: Attack) -> None:
        super().__init__(daemon=True)
        self.number, self.cookie, self.port, self.attack = number, cookie, port, attack
        self.chance = random.Random(number)
        self.tab = 0
        self.n_keys = 0
        self.keys: list[str] = []
        """Keys of acknowledged votes and corrections."""
        self.standing: dict[int, tuple[str, str]] = {}
        """Key and decision of the vote on each triple, as acknowledged."""
        self.unknown: set[int] = set()

    def run(self) -> None:
        while not self.attack.over.is_set():
            answer, _ = self._ask("GET", f"/api/next?batch=all&tab={self.tab}&count=4", None)
            items = [item["triple"] for item in answer.get("items", [])]
            if not items:
                time.sleep(0.05)
            for triple in items:
                mood = self.chance.random()
                if mood < 0.05:
                    self.tab += 1  # crashes: what it held is forgotten
                    break
                if mood < 0.12:
                    self._undo()
                elif mood < 0.19:
                    self._correct()
                elif mood < 0.24:
                    triple = self.chance.randrange(1, 40)  # noqa: PLW2901 - that it does not hold
                self._vote(triple, hangs_up=mood > 0.9, repeats=0.85 < mood < 0.9)

    def _new_key(self) -> str:
        self.n_keys += 1
        return f"client-{self.number}-{self.n_keys}"

    def _decide(self) -> str:
        return self.chance.choice(["accept", "reject", "skip"])

    def _vote(self, triple: int, *, hangs_up: bool, repeats: bool) -> None:
        vote = {"key": self._new_key(), "batch": "all", "triple": triple}
        vote |= {"decision": self._decide(), "tab": str(self.tab)}
        if hangs_up:
            self._hang_up(vote)
        answer, _ = self._ask("POST", "/api/votes", vote)
        if answer.get("saved"):
            self._remember("votes", triple, vote)
        else:
            self.attack.refuse(answer)
        if repeats:
            again, _ = self._ask("POST", "/api/votes", vote)
            if answer.get("saved") and not again.get("saved"):
                self.attack.errors.append(f"a repeated vote is refused: {again}")

    def _undo(self) -> None:
        if not self.standing:
            return
        triple = self.chance.choice(list(self.standing))
        key, _ = self.standing[triple]
        answer, attempts = self._ask("POST", "/api/undo", {"key": key, "tab": str(self.tab)})
        if "item" in answer:
            del self.standing[triple]
            self.attack.acknowledge("undone")
        else:
            self.attack.refuse(answer)
            if attempts > 1:
                self.unknown.add(triple)

    def _correct(self) -> None:
        if not self.standing:
            return
        triple = self.chance.choice(list(self.standing))
        body = {"replaces": self.standing[triple][0], "key": self._new_key()}
        body["decision"] = self._decide()
        answer, _ = self._ask("POST", "/api/corrections", body)
        if answer.get("saved"):
            self._remember("corrected", triple, body)
        else:
            self.attack.refuse(answer)

    def _remember(self, kind: str, triple: int, vote: dict[str, Any]) -> None:
        self.keys.append(vote["key"])
        self.standing[triple] = vote["key"], vote["decision"]
        self.unknown.discard(triple)
        self.attack.acknowledge(kind)

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> tuple[dict[str, Any], int]:
        """Ask until there is an answer, as the page's outbox does; return it and the attempts."""
        attempts = 0
        while True:
            attempts += 1
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            try:
                connection.request(method, path, json.dumps(body) if body else None, self._head())
                response = connection.getresponse()
                answer: dict[str, Any] = json.loads(response.read())
                if response.status not in {200, 409}:
                    self.attack.errors.append(f"{response.status} {answer}")
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.05)
            else:
                return answer, attempts
            finally:
                connection.close()

    def _hang_up(self, body: dict[str, Any]) -> None:
        """Send a vote and leave before the answer comes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("POST", "/api/votes", json.dumps(body), self._head())
        except OSError:
            pass
        finally:
            connection.close()

    def _head(self) -> dict[str, str]:
        cookie = f"lskd={quote(self.cookie)}"
        return {"cookie": cookie, "x-lskd": "1", "content-type": "application/json"}


def fill(store: Store) -> list[str]:
    """More than enough triples, and a cookie for each client; the last are crowd workers."""
    with store.write() as session:
        session.add(Source(id=1, name="s", root="/nowhere"))
        session.flush()
        session.add(Image(id=1, source_id=1, name="a.jpg", width=100, height=80))
        session.flush()
        texts = {"question": "q", "answer": "a", "rationale": "r", "visible_regions": []}
        n_triples = DECISIONS // VOTES_REQUIRED + 5 * CLIENTS
        session.add_all(
            Triple(key=f"{i}", image_id=1, source="s", **texts) for i in range(n_triples)
        )
        session.flush()
        ids = list(session.scalars(select(Triple.id)))
        rng = np.random.default_rng(0)
        make_batch(session, "all", ids, votes_required=VOTES_REQUIRED, rng=rng)
        people = [Person(name=f"p{n}", role="annotator", created=0) for n in range(CLIENTS)]
        people[0].password_hash = "there are accounts"
        session.add_all(people[: CLIENTS - WORKERS])
        session.flush()
        cookies = [
            sessions.create_login(session, person.id) for person in people[: CLIENTS - WORKERS]
        ]
        study = studies.create_study(session, "paid", "all", quota=QUOTA, max_workers=WORKERS)
        return cookies + [
            joining.join_study(session, study.link, platforms.PlatformIds(f"w{n}", "", "")).token
            for n in range(WORKERS)
        ]


def disturb(store: Store, attack: Attack) -> None:
    """Let leases expire, and close and open the batch and the study."""
    chance = random.Random(0)

    def change(connection: Connection) -> None:
        expired = Lease.position % 7 == chance.randrange(7)
        connection.execute(update(Lease).where(expired).values(expires=1))
        connection.execute(update(Batch).values(open=chance.random() < 0.9))
        connection.execute(update(Study).values(open=chance.random() < 0.7))

    while not attack.over.wait(0.1):
        store.group_commit(change)  # which repeats what ended in a deadlock


def attack_server(store: Store, folder: Path) -> tuple[Attack, list[Client], float]:
    """Run the attack; return what was acknowledged, the clients, and the seconds it took."""
    cookies = fill(store)
    server = Server(store.engine.url.render_as_string(hide_password=False), folder)
    attack = Attack()
    clients = [Client(n, cookie, server.port, attack) for n, cookie in enumerate(cookies)]
    disturber = threading.Thread(target=disturb, args=(store, attack), daemon=True)
    start = time.perf_counter()
    for thread in (*clients, disturber):
        thread.start()
    for kill in range(1, KILLS + 1):
        while attack.acknowledged["votes"] < kill * DECISIONS // (KILLS + 1):
            time.sleep(0.01)
        server.kill()
        server.start()
    for thread in (*clients, disturber):
        thread.join(300)
    seconds = time.perf_counter() - start
    server.kill()
    return attack, clients, seconds


def lost_votes(store: Store, clients: list[Client]) -> Iterator[str]:
    """Yield what was acknowledged and is not in the store."""
    with store.read() as session:
        rows = session.execute(select(Vote.key, Vote.triple_id, Vote.decision, Vote.withdrawn))
        votes = {row.key: row for row in rows}
    for client in clients:
        yield from (key for key in client.keys if key not in votes)
        for triple, (key, decision) in client.standing.items():
            vote = votes.get(key)
            if vote is None or triple in client.unknown:
                continue
            if (vote.triple_id, vote.decision, vote.withdrawn) != (triple, decision, None):
                yield f"{key}: {vote}"
        standing = {key for key, _ in client.standing.values()}
        yield from (
            f"{key} was undone or replaced and stands"
            for key in set(client.keys) - standing
            if key in votes and votes[key].withdrawn is None
        )


def count(store: Store, query: str) -> int:
    with store.read() as session:
        return int(session.execute(text(query)).scalar_one())


STANDING = "FROM votes WHERE withdrawn IS NULL"
JUDGED = f"{STANDING} AND decision <> 'skip'"
DOUBLED = (
    f"SELECT COUNT(*) FROM (SELECT 1 {STANDING} GROUP BY triple_id, person_id"
    " HAVING COUNT(*) > 1) AS d"
)
OVER = (
    f"SELECT COUNT(*) FROM (SELECT 1 {JUDGED} GROUP BY triple_id"
    f" HAVING COUNT(*) > {VOTES_REQUIRED}) AS o"
)
OVER_QUOTA = (
    f"SELECT COUNT(*) FROM (SELECT 1 {JUDGED} AND person_id IN (SELECT person_id"
    f" FROM study_sessions) GROUP BY person_id HAVING COUNT(*) > {QUOTA}) AS q"
)


def test_no_vote_is_lost_or_doubled_and_no_limit_is_exceeded(store: Store, tmp_path: Path) -> None:
    attack, clients, seconds = attack_server(store, tmp_path)
    lost = list(lost_votes(store, clients))
    doubled, over = count(store, DOUBLED), count(store, OVER) + count(store, OVER_QUOTA)
    with store.read() as session:
        finished = session.scalar(select(func.count()).select_from(Vote))
    print(  # noqa: T201 - figures for docs/benchmarks.md
        f"\n{store.engine.dialect.name}: {KILLS} kills, {dict(attack.acknowledged)} acknowledged"
        f" in {seconds:.0f} s, {finished} stored; lost {len(lost)}, doubled {doubled},"
        f" over a limit {over}; refused: {dict(attack.refused.most_common())}"
    )
    assert attack.errors == []
    assert attack.acknowledged["votes"] >= DECISIONS
    assert attack.acknowledged["undone"] > 0
    assert attack.acknowledged["corrected"] > 0
    assert (lost, doubled, over) == ([], 0, 0)
    violated = [check.invariant for check in invariants.check(store) if check.violations]
    assert violated == []
