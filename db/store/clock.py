"""Now, as the store writes it: milliseconds since 1970 UTC."""

import time


def now() -> int:
    """The present instant in milliseconds."""
    return time.time_ns() // 1_000_000
