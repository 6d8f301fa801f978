"""Progress callbacks of long work."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is in all, in the same unit."""


def no_progress(_done: int, _total: int) -> None:
    """Report nothing: the default where nobody watches."""
