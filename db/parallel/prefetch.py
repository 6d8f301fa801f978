"""Run calls in threads ahead of their consumer, such as loading images ahead of a model."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

R = TypeVar("R")


def prefetch(calls: Iterable[Callable[[], R]], *, threads: int, limit: int) -> Iterator[R]:
    """Yield the results of the calls, in order; at most `limit` are running or waiting."""
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for call in calls:
                pending.append(pool.submit(call))
                if len(pending) > limit:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
