"""Calls that run in threads ahead of whoever takes what they return: pictures, before a model."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Returned = TypeVar("Returned")


def prefetch(
    calls: Iterable[Callable[[], Returned]], *, threads: int, limit: int
) -> Iterator[Returned]:
    """What the calls return, in their order; at most so many run or wait meanwhile."""
    waiting: deque[Future[Returned]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for call in calls:
                waiting.append(pool.submit(call))
                if len(waiting) > limit:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()
