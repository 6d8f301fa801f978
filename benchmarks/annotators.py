"""Throughput and latency of votes: eight annotators at once over the HTTP API."""

import statistics
import tempfile
from collections import Counter

from labelling import VOTES_REQUIRED, fill, label, latencies_ms, p95, served
from sqlalchemy import select, text
from table import row

from db.schema import Vote
from db.store.session import Store

ANNOTATORS, TRIPLES, SECONDS = 8, 20_000, 15


def main() -> None:
    """Print the rows."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/store.db"
        store = Store.create(url)
        fill(store, triples=TRIPLES, annotators=ANNOTATORS)
        with served(url, folder) as (port, errors):
            annotators, seconds = label(port, ANNOTATORS, SECONDS)
        refused = sum((annotator.refused for annotator in annotators), Counter[str]())
        latencies = latencies_ms(annotators)
        with store.read() as session:
            votes = session.execute(select(Vote.triple_id, Vote.person_id)).all()
            durability = session.execute(text("PRAGMA synchronous")).scalar()
        assert len(votes) == len(latencies) - refused.total()
        assert durability == 2, "commits are not synchronous"
        repeated = sum(n - 1 for n in Counter(votes).values())
        too_many = sum(n > VOTES_REQUIRED for n in Counter(t for t, _ in votes).values())
    row(
        f"votes per second, {ANNOTATORS} annotators",
        f"{len(latencies) / seconds:.0f}; p50 {statistics.median(latencies):.0f} ms,"
        f" p95 {p95(latencies):.0f} ms",
        "600 (same machine: Label Studio 8, potato 10, doccano 20)",
    )
    row(
        "repeated items; triples with too many votes; lock errors",
        f"{repeated}; {too_many}; {b''.join(errors).count(b'locked') + refused.total()}",
        "0; 0; 0",
    )


if __name__ == "__main__":
    main()
