"""Sends the requests of a run concurrently, within the budget, and records every outcome.

One producer loads requests chunk by chunk, `concurrency` workers send them, and two background
tasks write the journal and parse replies.
"""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

from db.store.session import Store
from generation.llm import failures
from generation.llm.budget import Budget, BudgetExceeded
from generation.llm.client import LLMClient
from generation.llm.pricing import MILLION, CostModel
from generation.llm.protocol import Failure, Reply, Request
from generation.runs import journal
from generation.runs.images import image_data_url
from generation.runs.journal import JournalWriter
from generation.runs.open_requests import ImageCounts, RequestChunk, chunks, load_requests
from generation.runs.parsing import parse_batch
from generation.runs.results import StopReason
from generation.settings import LLMSettings
from generation.tasks.protocol import Task
from regions.errors import UserError
from regions.progress import Progress

_PARSE_INTERVAL = 0.5
"""Seconds between two rounds of parsing."""
_MAX_ALIKE, _MAX_ALIKE_AFTER_REPLY = 10, 100
"""Calls in a row that fail in the same way before a run stops: without a reply, and after one."""


class StopSignal:
    """Whether a run should end early, and why; a user's event may set it from another thread."""

    def __init__(self, interrupted: threading.Event) -> None:
        self._interrupted = interrupted
        self._error: UserError | None = None
        self.reason: StopReason | None = None

    def is_set(self) -> bool:
        """Return whether no further call should be made."""
        if self._interrupted.is_set():
            self.reason = "interrupted"
        return self.reason is not None or self._error is not None

    def fail(self, error: UserError) -> None:
        """End the run because of an error."""
        self._error = self._error or error

    def raise_error(self) -> None:
        """Raise the error that has ended the run, if there was one."""
        if self._error:
            raise self._error


@dataclass(slots=True)
class CallCounts:
    """Requests of a run by what happened to them."""

    made: int = 0
    answered_before: int = 0
    submitted_before: int = 0
    images: ImageCounts = field(default_factory=ImageCounts)


@dataclass(frozen=True, slots=True)
class RunInputs:
    """A run in progress: its task and model, and the images that it covers."""

    store: Store
    task: Task
    settings: LLMSettings
    run_id: int
    image_ids: Sequence[int]


class Dispatcher:
    """Makes all calls of one run that have no reply yet."""

    def __init__(
        self,
        run: RunInputs,
        client: LLMClient,
        costs: CostModel,
        stop: StopSignal,
        progress: Progress,
    ) -> None:
        self._run, self._client, self._costs = run, client, costs
        self._stop, self._progress = stop, progress
        self.counts = CallCounts()

    async def run(self) -> None:
        """Make the calls; returns early when `stop` is set, or sets it.

        Calls in flight are finished and recorded in any case.
        """
        run = self._run
        with run.store.read() as session:
            spent = journal.total_cost(session)
            finished = journal.finished_images(session, run.run_id, run.task.samples)
        limit = round(run.settings.budget * MILLION) if run.settings.budget else None
        self._budget = Budget(limit, spent)
        self._queue: asyncio.Queue[Request | None] = asyncio.Queue(run.settings.concurrency)
        self._threads = ThreadPoolExecutor(2)
        self._journal = JournalWriter(run.store, run.run_id)
        self._parser = _BackgroundParser(run, self._threads)
        self._alike = _AlikeFailures(run.settings, self._client, self.counts, self._stop)
        self.counts.answered_before = len(finished) * run.task.samples
        background = [
            asyncio.create_task(self._journal.run()),
            asyncio.create_task(self._parser.run()),
        ]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._produce(finished))
                for _ in range(run.settings.concurrency):
                    group.create_task(self._work())
            self._alike.check_end()
        except* UserError as errors:
            # Workers that wait for the same transaction fail together.
            raise errors.exceptions[0] from None
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._client.close()
            self._journal.close()
            self._threads.shutdown()

    async def _produce(self, finished: set[int]) -> None:
        """Queue the unanswered requests, then one None per worker."""
        loop = asyncio.get_running_loop()
        image_ids = [image_id for image_id in self._run.image_ids if image_id not in finished]
        n_done = len(finished)
        for image_chunk in chunks(image_ids):
            if self._stop.is_set():
                break
            chunk = await loop.run_in_executor(self._threads, self._load, image_chunk)
            self._costs.calibrate(chunk.requests, chunk.answered)
            self.counts.answered_before += len(chunk.answered)
            self.counts.submitted_before += chunk.submitted
            self.counts.images.add(chunk.image_counts)
            for request in chunk.unanswered:
                await self._queue.put(request)
            n_done += len(image_chunk)
            self._progress(n_done, len(self._run.image_ids))
        for _ in range(self._run.settings.concurrency):
            await self._queue.put(None)

    def _load(self, image_ids: Sequence[int]) -> RequestChunk:
        run = self._run
        with run.store.read() as session:
            return load_requests(session, run.task, run.settings, image_ids)

    async def _work(self) -> None:
        """Send queued requests until there is none; once stopped, discard them."""
        while (request := await self._queue.get()) is not None:
            if self._stop.is_set():
                continue
            prompt_tokens = self._costs.prompt_tokens(request) if self._costs.price else 0
            max_cost = self._costs.max_cost(prompt_tokens)
            try:
                await self._budget.reserve(max_cost)
            except BudgetExceeded:
                self._stop.reason = "budget_spent"
                continue
            outcome = await self._send(request)
            if outcome is None:
                await self._budget.commit(max_cost, 0)
                continue
            entry = journal.make_entry(request, outcome, prompt_tokens, self._costs.price)
            await self._journal.write(entry)
            await self._budget.commit(max_cost, entry.cost)
            self.counts.made += 1
            self._alike.add(outcome)
            if not isinstance(outcome, Failure):
                reported = {request.fingerprint: outcome.prompt_tokens or 0}
                self._costs.calibrate([request], reported)
                self._parser.notify()

    async def _send(self, request: Request) -> Reply | Failure | None:
        if request.image_size is None:
            return await self._client.complete(request)
        run, loop = self._run, asyncio.get_running_loop()
        try:
            image_url = await loop.run_in_executor(
                self._threads, image_data_url, run.store, request.image_id, run.task.side
            )
        except UserError as error:
            return Failure(str(error), 0, "unreadable_image")
        return await self._client.complete(request, image_url)


class _AlikeFailures:
    """Stops a run whose calls all fail in the same way: more of them would not help."""

    def __init__(
        self, settings: LLMSettings, client: LLMClient, counts: CallCounts, stop: StopSignal
    ) -> None:
        self._settings, self._client, self._counts, self._stop = settings, client, counts, stop
        self._last: Failure | None = None
        self._in_a_row = 0

    def add(self, outcome: Reply | Failure) -> None:
        """Take the outcome of a call into account."""
        if not isinstance(outcome, Failure):
            self._last, self._in_a_row = None, 0
            return
        is_same = self._last is not None and self._last.kind == outcome.kind
        self._last, self._in_a_row = outcome, self._in_a_row + 1 if is_same else 1
        has_replies = self._client.has_replies
        if failures.is_fatal(outcome.kind, has_replies=has_replies):
            self._fail("", outcome)
        elif failures.is_about_server(outcome.kind):
            if self._in_a_row >= (_MAX_ALIKE_AFTER_REPLY if has_replies else _MAX_ALIKE):
                self._fail(f"{self._in_a_row} calls in a row have failed alike: ", outcome)
        elif self._in_a_row >= _MAX_ALIKE and not self._has_any_reply():
            self._fail(f"the first {self._in_a_row} calls have failed alike: ", outcome)

    def check_end(self) -> None:
        """Fail a run that has no reply because all of its few calls failed alike."""
        if self._last and self._in_a_row == self._counts.made and not self._has_any_reply():
            self._fail("all calls have failed alike: ", self._last)

    def _has_any_reply(self) -> bool:
        """Whether this run, or the one that it resumes, has a reply.

        Calls that fail because of what they ask fail again when a run is resumed, and first.
        """
        return self._client.has_replies or self._counts.answered_before > 0

    def _fail(self, prefix: str, failure: Failure) -> None:
        server, model = self._client.connection.base_url, self._settings.model
        error = failures.as_user_error(failure.kind, failure.error, server=server, model=model)
        self._stop.fail(UserError(prefix + error.problem, where=error.where, hint=error.hint))


class _BackgroundParser:
    """Parses replies while other calls are in flight."""

    def __init__(self, run: RunInputs, threads: Executor) -> None:
        self._run, self._threads = run, threads
        self._has_replies = asyncio.Event()

    def notify(self) -> None:
        """Have the replies parsed that are stored by now."""
        self._has_replies.set()

    async def run(self) -> None:
        """Parse until cancelled."""
        run, loop = self._run, asyncio.get_running_loop()
        while True:
            await self._has_replies.wait()
            self._has_replies.clear()
            while await loop.run_in_executor(
                self._threads, parse_batch, run.store, run.task, run.run_id
            ):
                pass
            await asyncio.sleep(_PARSE_INTERVAL)
