"""Shared by benchmarks of labelling: a full store, the app in a subprocess, simulated clients."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from sqlalchemy import select, text

from annotator.accounts import sessions
from db.labelling.batches import make_batch
from db.schema import Triple
from db.store.session import Store

ROOT = Path(__file__).parent.parent
IMAGES, VOTES_REQUIRED = 200, 3

# Works on both databases; a million rows through the ORM would take longer than the benchmark.
_NUMBERS = (
    "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :n) "
)
_IMAGES = (
    "INSERT INTO images (source_id, name, width, height, title, author, licence, origin)"
    " SELECT 1, CAST(i AS TEXT), 640, 480, '', '', '', '' FROM numbers"
)
_REGIONS = (
    "INSERT INTO regions (image_id, number, x1, y1, x2, y2, polygons, label)"
    " SELECT 1 + i % 200, i / 200, 10 * (i / 200), 5, 10 * (i / 200) + 200, 300, '[]', 'thing'"
    " FROM (SELECT i - 1 AS i FROM numbers) AS n"
)
_TRIPLES = (
    "INSERT INTO triples (key, image_id, question, answer, rationale, visible_regions, kind,"
    " source, model, prompt_version) SELECT CAST(i AS TEXT), 1 + i % 200,"
    " 'Why does [0] stand so close to [1] in this street?',"
    " '[0] is waiting for [1] to open the door.',"
    " '[0] looks at the door, and [1] holds a key in the right hand.',"
    " '[0, 1, 2, 3, 4]', '', 's', '', '' FROM numbers"
)


def fill(store: Store, *, triples: int, annotators: int, votes: int = 0) -> None:
    """Create a batch `all` of triples on 200 images, three votes required, and accounts.

    `votes` are stored already: three per triple, by people who are not among the annotators.
    """
    with store.write() as session:
        session.execute(text("INSERT INTO sources (id, name, root) VALUES (1, 's', '/nowhere')"))
        for statement, n in ((_IMAGES, IMAGES), (_REGIONS, 5 * IMAGES), (_TRIPLES, triples)):
            session.execute(text(_NUMBERS + statement), {"n": n})
        for n in range(annotators):
            sessions.add_person(session, f"annotator {n}", "annotator", f"password {n}")
        others = [
            sessions.add_person(session, f"earlier {n}", "annotator", "password").id
            for n in range(3)
        ]
        ids = list(session.scalars(select(Triple.id).order_by(Triple.id)))
        rng = np.random.default_rng(0)
        make_batch(session, "all", ids[votes // 3 :], votes_required=VOTES_REQUIRED, rng=rng)
        if votes:
            make_batch(
                session, "earlier", ids[: votes // 3], votes_required=VOTES_REQUIRED, rng=rng
            )
            for person in others:
                session.execute(
                    text(
                        "INSERT INTO votes (key, triple_id, person_id, batch_id, decision, reasons,"
                        " duration_ms, created) SELECT 'earlier ' || item.triple_id || ' ' || :who,"
                        " item.triple_id, :person, item.batch_id, 'accept', '[]', 900, 0"
                        " FROM batch_items AS item JOIN batches ON batches.id = item.batch_id"
                        " WHERE batches.name = 'earlier'"
                    ),
                    {"person": person, "who": str(person)},
                )
            session.execute(
                text(
                    "UPDATE batch_items SET slots_used = 3 WHERE batch_id ="
                    " (SELECT id FROM batches WHERE name = 'earlier')"
                )
            )
    if store.engine.dialect.name == "postgresql":
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))


@contextmanager
def served(url: str, folder: str) -> Iterator[tuple[int, list[bytes]]]:
    """Serve the app in a subprocess; yields its port and a list that gets its stderr."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "lskd", "app", "--store", url, "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "LSKD_FOLDER": folder},
    )
    errors: list[bytes] = []
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.1)
        yield port, errors
    finally:
        process.terminate()
        errors.append(process.communicate()[1])


class Annotator(threading.Thread):
    """A client that signs in and votes continuously until `stop` is set."""

    def __init__(
        self, port: int, number: int, ready: threading.Barrier, stop: threading.Event
    ) -> None:
        super().__init__()
        self.port, self.number, self.ready, self.stop = port, number, ready, stop
        self.latencies: list[float] = []
        """In seconds."""
        self.refused: Counter[str] = Counter()

    def run(self) -> None:
        """Vote on the items that the responses return."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        form = urlencode(
            {"name": f"annotator {self.number}", "password": f"password {self.number}"}
        )
        headers = {"content-type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/login", form, headers)
        answer = connection.getresponse()
        answer.read()
        cookie = answer.headers["set-cookie"].split(";")[0]
        headers = {"cookie": cookie, "x-lskd": "1", "content-type": "application/json"}
        connection.request("GET", "/api/next?batch=all&count=4", headers=headers)
        items = json.loads(connection.getresponse().read())["items"]
        self.ready.wait()
        count = 0
        while items and not self.stop.is_set():
            item, count = items[0], count + 1
            body = {
                "key": f"annotator-{self.number}-{count}",
                "batch": "all",
                "triple": item["triple"],
                "decision": "accept" if count % 2 else "reject",
                "reasons": [] if count % 2 else ["trivial"],
                "duration_ms": 900,
                "ahead": 4,
            }
            start = time.perf_counter()
            connection.request("POST", "/api/votes", json.dumps(body), headers)
            answer = connection.getresponse()
            response = json.loads(answer.read())
            self.latencies.append(time.perf_counter() - start)
            if answer.status != 200:
                self.refused[str(response)] += 1
                break
            items = [*items[1:], *response["items"]]


def label(port: int, count: int, seconds: float) -> tuple[list[Annotator], float]:
    """Run `count` annotators for `seconds` after all have signed in; returns them and the time."""
    ready, stop = threading.Barrier(count + 1), threading.Event()
    annotators = [Annotator(port, number, ready, stop) for number in range(count)]
    for annotator in annotators:
        annotator.start()
    ready.wait()
    start = time.perf_counter()
    time.sleep(seconds)
    stop.set()
    for annotator in annotators:
        annotator.join()
    return annotators, time.perf_counter() - start


def latencies_ms(annotators: list[Annotator]) -> list[float]:
    """The latency of every vote in milliseconds, sorted."""
    return sorted(1000 * t for annotator in annotators for t in annotator.latencies)


def p95(milliseconds: list[float]) -> float:
    """The 95th percentile of sorted values."""
    return milliseconds[int(0.95 * len(milliseconds))]
