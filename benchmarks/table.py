"""What benchmarks share: a row of the table that `make bench` prints, and where real data lie."""

import os
from pathlib import Path

SHARED_DATA = Path(
    os.environ.get("LSKD_SHARED_DATA", Path(__file__).parent.parent.parent / "shared" / "data")
)
"""Data sets that are not part of the project."""


def row(what: str, measured: str, limit: str) -> None:
    """Print `what` was measured, what came out, and what is promised."""
    print(f"| {what} | {measured} | {limit} |", flush=True)
