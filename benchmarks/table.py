"""One row of the table that `make bench` prints."""


def row(what: str, measured: str, limit: str) -> None:
    """Print `what` was measured, what came out, and what is promised."""
    print(f"| {what} | {measured} | {limit} |", flush=True)
