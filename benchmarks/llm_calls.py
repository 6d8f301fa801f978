"""Calls per second with a server that takes a second per call, memory, and time to resume a run.

`LSKD_BENCH_CALLS=100000` gives the documented figures and takes ten minutes.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from sqlalchemy import text
from table import row

from db.schema import Call
from db.store.session import Store

ROOT = Path(__file__).parent.parent
CALLS = int(os.environ.get("LSKD_BENCH_CALLS", "6000"))
IN_FLIGHT, SECONDS = 256, 1
N_ANSWERED = 1_000_000
PORT = 18_765

_NUMBERS = (
    "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :n) "
)


def fill(store: Store, images: int) -> None:
    """Store images, each with three labelled regions and a caption."""
    with store.write() as session:
        session.execute(text("INSERT INTO sources (id, name, root) VALUES (1, 's', '/nowhere')"))
        for statement in (
            (
                "INSERT INTO images (id, source_id, name, width, height, title, author, licence,"
                " origin) SELECT i, 1, CAST(i AS TEXT), 400, 300, '', '', '', '' FROM numbers"
            ),
            (
                "INSERT INTO regions (image_id, number, x1, y1, x2, y2, polygons, label)"
                " SELECT i, k, 100 * k, 0, 100 * k + 90, 150, '[]', 'person' FROM numbers,"
                " (SELECT 0 AS k UNION SELECT 1 UNION SELECT 2)"
            ),
            (
                "INSERT INTO verbalizations (key, image_id, kind, text, answer, model, version)"
                " SELECT CAST(i AS TEXT), i, 'scene', 'Three people wait for a bus in the rain.',"
                " '', 'people', '' FROM numbers"
            ),
        ):
            session.execute(text(_NUMBERS + statement), {"n": images})


def command(url: str, samples: int) -> list[str]:
    """Return the command line of a run."""
    return [
        *(sys.executable, "-m", "lskd", "generate", "triples", "--model", "gpt-4o-mini"),
        *("--base-url", f"http://127.0.0.1:{PORT}/v1", "--concurrency", str(IN_FLIGHT)),
        *("--samples", str(samples), "--per-call", "1", "--store", url),
    ]


def n_requests() -> int:
    """Return the requests that the server has received, waiting until the server is up."""
    while True:
        try:
            return int(httpx.get(f"http://127.0.0.1:{PORT}/count").text)
        except httpx.TransportError:
            time.sleep(0.1)


def throughput(folder: str) -> None:
    """Measure calls per second of a whole run, and memory half way and at the end."""
    url = f"sqlite:///{folder}/calls.db"
    fill(Store.create(url), CALLS // 3)
    process = subprocess.Popen(command(url, 3), cwd=ROOT, stdout=subprocess.DEVNULL)
    while not n_requests():
        time.sleep(0.05)
    start = time.perf_counter()
    half = last = 0.0
    while process.poll() is None:
        if not half and n_requests() > CALLS / 2:
            half = _memory(process.pid)
        last = _memory(process.pid) or last
        time.sleep(0.2)
    seconds = time.perf_counter() - start
    row(
        f"{CALLS:,} calls to a language model, {IN_FLIGHT} in flight, {SECONDS} s each",
        f"{CALLS / seconds:.0f} calls/s; {half:.0f} MB half way, {last:.0f} MB at the end",
        "200 calls/s; flat",
    )


def resume(folder: str) -> None:
    """Measure the time to the first call when resuming a run with a million replies."""
    url = f"sqlite:///{folder}/resume.db"
    store = Store.create(url)
    fill(store, N_ANSWERED // 10 + 100)
    before = n_requests()
    process = subprocess.Popen(command(url, 10), cwd=ROOT, stdout=subprocess.DEVNULL)
    while n_requests() == before:
        time.sleep(0.05)
    process.kill()
    process.wait()
    with store.write() as session:
        session.execute(text("DELETE FROM calls"))
        session.execute(
            text(
                _NUMBERS + "INSERT INTO calls (fingerprint, run_id, image_id, sample, status,"
                " attempts, reply, finish, error, prompt_tokens, completion_tokens, cost,"
                " milliseconds, created, read) SELECT CAST(i AS TEXT), 1, 1 + (i - 1) / 10, i % 10,"
                " 'answered', 1, '{}', 'stop', '', 400, 40, 90, 1000, 0, 1 FROM numbers"
            ),
            {"n": N_ANSWERED},
        )
        assert session.query(Call).count() == N_ANSWERED
    store.close()
    before, start = n_requests(), time.perf_counter()
    process = subprocess.Popen(command(url, 10), cwd=ROOT, stdout=subprocess.DEVNULL)
    while n_requests() == before:
        time.sleep(0.02)
    row(
        f"a run of {N_ANSWERED:,} answered calls is resumed: first call",
        f"{time.perf_counter() - start:.1f} s",
        "10 s",
    )
    process.kill()
    process.wait()


def _memory(pid: int) -> float:
    """Return the resident megabytes of a process; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii")
        return int(status.split("VmRSS:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return 0.0


def main() -> None:
    """Print the rows of the table."""
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/generation/llm_server.py"), str(PORT), "0", str(SECONDS)]
    )
    try:
        n_requests()
        with tempfile.TemporaryDirectory() as folder:
            throughput(folder)
            resume(folder)
    finally:
        server.kill()


if __name__ == "__main__":
    main()
