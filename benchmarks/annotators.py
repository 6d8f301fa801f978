"""Eight annotators at once through the real API: votes a second, and what went wrong."""

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from sqlalchemy import select, text
from table import row

from annotator import login
from db.batches import make_batch
from db.schema import Image, ImageRegion, Source, Triple, Vote
from db.session import Store

ROOT = Path(__file__).parent.parent
ANNOTATORS, TRIPLES, WANTED, SECONDS, PORT = 8, 20_000, 3, 15, 17861


def fill(store: Store) -> None:
    """A batch of 20,000 triples on 200 images, three votes wanted, and eight accounts."""
    rng = np.random.default_rng(0)
    with store.write() as session:
        session.add(Source(id=1, name="s", root="/nowhere"))
        session.flush()
        for i in range(1, 201):
            session.add(Image(id=i, source_id=1, name=f"{i}.jpg", width=640, height=480))
        session.flush()
        for i in range(1, 201):
            for n in range(5):
                box = {"x1": 10.0 * n, "y1": 5, "x2": 10.0 * n + 200, "y2": 300}
                session.add(ImageRegion(image_id=i, number=n, label="thing", **box))
        session.add_all(
            Triple(
                key=f"triple {i}",
                image_id=i % 200 + 1,
                question="Why does [0] stand so close to [1] in this street?",
                answer="[0] is waiting for [1] to open the door.",
                rationale="[0] looks at the door, and [1] holds a key in the right hand.",
                shown=[0, 1, 2, 3, 4],
                source="s",
            )
            for i in range(TRIPLES)
        )
        session.flush()
        ids = list(session.scalars(select(Triple.id)))
        make_batch(session, "all", ids, wanted=WANTED, rng=rng)
        for n in range(ANNOTATORS):
            login.add_person(session, f"annotator {n}", "annotator", f"password {n}")


class Annotator(threading.Thread):
    """Signs in and votes without pause until it is told to stop."""

    def __init__(self, number: int, until: threading.Event) -> None:
        super().__init__()
        self.number, self.until = number, until
        self.times: list[float] = []
        self.refused: Counter[str] = Counter()

    def run(self) -> None:
        """Vote, and take what comes with the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", PORT)
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
        count = 0
        while items and not self.until.is_set():
            item, count = items[0], count + 1
            body = {
                "key": f"annotator-{self.number}-{count}",
                "batch": "all",
                "position": item["position"],
                "decision": "accept" if count % 2 else "reject",
                "reasons": [] if count % 2 else ["trivial"],
                "duration_ms": 900,
                "ahead": 4,
                "after": max(other["position"] for other in items),
            }
            start = time.perf_counter()
            connection.request("POST", "/api/votes", json.dumps(body), headers)
            answer = connection.getresponse()
            found = json.loads(answer.read())
            self.times.append(time.perf_counter() - start)
            if answer.status != 200:
                self.refused[str(found)] += 1
                break
            items = [*items[1:], *found["items"]]


def main() -> None:
    """Print the rows."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/store.db"
        store = Store.create(url)
        fill(store)
        served = subprocess.Popen(
            [sys.executable, "-m", "lskd", "app", "--store", url, "--port", str(PORT)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            while socket.socket().connect_ex(("127.0.0.1", PORT)):
                time.sleep(0.1)
            until = threading.Event()
            annotators = [Annotator(n, until) for n in range(ANNOTATORS)]
            start = time.perf_counter()
            for annotator in annotators:
                annotator.start()
            time.sleep(SECONDS)
            until.set()
            for annotator in annotators:
                annotator.join()
            seconds = time.perf_counter() - start
        finally:
            served.terminate()
        _, errors = served.communicate()
        times = [t for annotator in annotators for t in annotator.times]
        refused = sum((annotator.refused for annotator in annotators), Counter[str]())
        with store.read() as session:
            votes = session.execute(select(Vote.triple_id, Vote.person_id)).all()
            durability = session.execute(text("PRAGMA synchronous")).scalar()
        assert len(votes) == len(times) - refused.total()
        assert durability == 2, "not every commit was on disk"
        repeated = sum(n - 1 for n in Counter(votes).values())
        too_often = sum(n > WANTED for n in Counter(t for t, _ in votes).values())
    milliseconds = sorted(1000 * t for t in times)
    p95 = milliseconds[int(0.95 * len(times))]
    row(
        f"votes a second, {ANNOTATORS} annotators",
        f"{len(times) / seconds:.0f}; p50 {statistics.median(milliseconds):.0f} ms, "
        f"p95 {p95:.0f} ms",
        "600 (same machine: Label Studio 8, potato 10, doccano 20)",
    )
    row(
        "repeated items; triples with too many votes; lock errors",
        f"{repeated}; {too_often}; {errors.decode().count('locked') + refused.total()}",
        "0; 0; 0",
    )


if __name__ == "__main__":
    main()
