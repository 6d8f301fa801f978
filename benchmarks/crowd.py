"""Votes at scale: 32 annotators on a million triples, and one on stores of two sizes."""

import os
import statistics
import tempfile
import uuid

from labelling import fill, label, latencies_ms, p95, served
from sqlalchemy import create_engine, make_url, text
from table import row

from db.store.session import Store

ANNOTATORS, VOTES, SECONDS = 32, 60_000, 15
SMALL, LARGE = 10_000, 1_000_000
POSTGRES = os.environ.get("LSKD_TEST_POSTGRES", "")


def crowd(name: str, url: str, folder: str) -> None:
    """Measure 32 annotators on a full store, then one annotator alone."""
    fill(Store.create(url), triples=LARGE, annotators=ANNOTATORS, votes=VOTES)
    with served(url, folder) as (port, _):
        annotators, seconds = label(port, ANNOTATORS, SECONDS)
        latencies = latencies_ms(annotators)
        alone = latencies_ms(label(port, 1, SECONDS / 2)[0])
    refused = sum(annotator.refused.total() for annotator in annotators)
    row(
        f"{name}: {LARGE:,} triples, {VOTES:,} votes, {ANNOTATORS} annotators",
        f"{len(latencies) / seconds:.0f} votes/s, p95 {p95(latencies):.0f} ms, {refused} refused",
        "500 votes/s; p95 100 ms; 0",
    )
    row(
        f"{name}: one annotator, latency of a vote over HTTP",
        f"p50 {statistics.median(alone):.1f} ms, p95 {p95(alone):.1f} ms",
        "p95 10 ms",
    )


def sizes() -> None:
    """Compare one annotator's latency on a small and a large store."""
    medians = {}
    for triples in (SMALL, LARGE):
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/store.db"
            fill(Store.create(url), triples=triples, annotators=1)
            with served(url, folder) as (port, _):
                label(port, 1, 2)
                medians[triples] = statistics.median(latencies_ms(label(port, 1, 6)[0]))
    row(
        f"vote latency: {LARGE:,} triples against {SMALL:,}",
        f"{medians[LARGE] / medians[SMALL]:.2f} times ({medians[LARGE]:.1f} ms, "
        f"{medians[SMALL]:.1f} ms)",
        "1.5 times",
    )


def main() -> None:
    """Print the rows; PostgreSQL only if `LSKD_TEST_POSTGRES` is a server's URL."""
    with tempfile.TemporaryDirectory() as folder:
        crowd("SQLite", f"sqlite:///{folder}/store.db", folder)
    if POSTGRES:
        name = f"lskd_bench_{uuid.uuid4().hex}"
        admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        url = make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)
        with tempfile.TemporaryDirectory() as folder:
            crowd("PostgreSQL", url, folder)
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    sizes()


if __name__ == "__main__":
    main()
