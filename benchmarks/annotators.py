"""Eight annotators at once through the real API: votes a second, and what went wrong."""

import statistics
import tempfile
from collections import Counter

from labelling import WANTED, fill, label, p95, served, times
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
        took = times(annotators)
        with store.read() as session:
            votes = session.execute(select(Vote.triple_id, Vote.person_id)).all()
            durability = session.execute(text("PRAGMA synchronous")).scalar()
        assert len(votes) == len(took) - refused.total()
        assert durability == 2, "not every commit was on disk"
        repeated = sum(n - 1 for n in Counter(votes).values())
        too_often = sum(n > WANTED for n in Counter(t for t, _ in votes).values())
    row(
        f"votes a second, {ANNOTATORS} annotators",
        f"{len(took) / seconds:.0f}; p50 {statistics.median(took):.0f} ms, p95 {p95(took):.0f} ms",
        "600 (same machine: Label Studio 8, potato 10, doccano 20)",
    )
    row(
        "repeated items; triples with too many votes; lock errors",
        f"{repeated}; {too_often}; {b''.join(errors).count(b'locked') + refused.total()}",
        "0; 0; 0",
    )


if __name__ == "__main__":
    main()
