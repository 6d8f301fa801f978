"""Progress callbacks of long work."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with the work done and the total, in the same unit."""


def no_progress(_done: int, _total: int) -> None:
    """Report nothing."""
