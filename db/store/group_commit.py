"""Group commit: the jobs of several threads in one transaction, so that they share one fsync.

The first thread to arrive is the leader: it runs all queued jobs and commits. The others are
followers, which wait for the outcome of their job. When the leader is done, the first of the jobs
that were queued meanwhile makes its thread the next leader.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")
Job = Callable[[Connection], T]


class _QueuedJob(NamedTuple):
    job: Job[Any]
    outcome: "Future[Any]"
    wake: threading.Event
    """Set when the job is done, or when its thread is to lead."""


class GroupCommit:
    """Runs jobs in shared transactions; `transaction` opens one."""

    def __init__(self, transaction: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._transaction = transaction
        self._queue: deque[_QueuedJob] = deque()
        self._has_leader = False
        self._lock = threading.Lock()
        """Guards the queue and `_has_leader`."""

    def run(self, job: Job[T]) -> T:
        """Return the job's result after the commit; what the job raises is raised.

        A job that fails is rolled back and does not affect the others. A job may be run twice, of
        which only the second counts.
        """
        queued = _QueuedJob(job, Future(), threading.Event())
        with self._lock:
            self._queue.append(queued)
            is_leader, self._has_leader = not self._has_leader, True
        if not is_leader:
            queued.wake.wait()
        if not queued.outcome.done():
            self._lead()
        outcome: T = queued.outcome.result()
        return outcome

    def _lead(self) -> None:
        try:
            self._run_queue()
        finally:
            with self._lock:
                self._has_leader = bool(self._queue)
                if self._queue:
                    self._queue[0].wake.set()

    def _run_queue(self) -> None:
        jobs = [self._queue.popleft() for _ in range(len(self._queue))]
        try:
            self._run_jobs(jobs)
        finally:
            for job in jobs:
                job.wake.set()

    def _run_jobs(self, jobs: Sequence[_QueuedJob]) -> None:
        try:
            with self._transaction() as connection:
                results = [queued.job(connection) for queued in jobs]
        except BaseException as error:
            if len(jobs) > 1 and isinstance(error, Exception):
                # Failures are rare: running each job again in a transaction of its own costs less
                # than a savepoint around every job.
                for queued in jobs:
                    self._run_jobs([queued])
                return
            for queued in jobs:
                queued.outcome.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            for queued, result in zip(jobs, results, strict=True):
                queued.outcome.set_result(result)
