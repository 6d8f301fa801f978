"""The current time as the store writes it: milliseconds since 1970 UTC."""

import time


def now() -> int:
    """Return the current time in milliseconds."""
    return time.time_ns() // 1_000_000
