"""The loop of generation: requests that have no reply yet, calls, the journal, and reading.

Calls and reading are apart: a reply is on disk before anything is read from it, and can be read
again without a call. Images pass by in chunks, so that memory stays flat.
"""

import asyncio
import signal
import threading
from collections import Counter as Tally
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, insert, select

from db.schema import Call, Image, Rejection, Run, Source, Triple, Verbalization
from db.store import keys, queries, runs, upsert
from db.store.clock import now
from db.store.locks import exclusive_lock
from db.store.session import Store
from generation.llm.client import LLM, Failure, Reply, Request
from generation.llm.pricing import MILLION, Counter, Empty, Price, Purse
from generation.runs import journal, usage
from generation.runs.cost_estimate import chunks, counter_for, learn, price_for, requests, tokens_of
from generation.settings import LLMSettings
from generation.tasks.context import briefs
from generation.tasks.protocol import Origin, Task
from generation.verbalize.run import picture_of
from regions.errors import UserError
from regions.progress import Progress, no_progress

_READ = 200
"""Replies read in one transaction."""


def generate(
    store: Store,
    task: Task,
    settings: LLMSettings,
    *,
    only: Sequence[int] | None = None,
    stop: threading.Event | None = None,
    progress: Progress = no_progress,
) -> Run:
    """Ask for everything that has no reply yet, and read what comes; the run with its results.

    `only` these images, if stated; `stop`, once set, lets calls in flight come back and ends the
    run, which the same settings take up again. UserError before a call is made where none could
    succeed.
    """
    price, counter = price_for(settings), counter_for(settings)
    llm = LLM(settings)
    stop = stop or threading.Event()
    with exclusive_lock(store, doing(task, settings)):
        run_id, image_ids = begin(store, task, settings, only)
        calls = _Calls(
            store, task, settings, run_id, image_ids, llm, price, counter, progress, stop
        )
        return _asked(store, task, run_id, calls, stop)


def _asked(store: Store, task: Task, run_id: int, calls: "_Calls", stop: threading.Event) -> Run:
    """The run after its calls, with what they brought."""
    with runs.mark_failed_on_error(store, run_id):
        read_all(store, task, run_id)
        try:
            with _heeding_interrupts(stop):
                _in_a_loop_of_its_own(calls)
        finally:
            read_all(store, task, run_id)
    with store.write() as session:
        run = session.get_one(Run, run_id)
        results = usage.results(session, run_id, task.name) | calls.told()
        runs.finish(session, run_id, results)
        if calls.stopped:
            # Not done: the same command goes on with it.
            run.status = "failed"
    return run


def _in_a_loop_of_its_own(calls: "_Calls") -> None:
    """Make the calls in another thread: whoever asks may have a loop, as a notebook does."""
    made: Future[None] = Future()

    def work() -> None:
        try:
            asyncio.run(calls.all())
        except BaseException as error:  # noqa: BLE001 - whoever waits hears of it
            made.set_exception(error)
        else:
            made.set_result(None)

    threading.Thread(target=work, daemon=True).start()
    made.result()


@contextmanager
def _heeding_interrupts(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl+C lets calls in flight come back; the second one does not."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def first(_signal: int, _frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def read_again(store: Store, task: Task, run_name: str) -> dict[str, Any]:
    """Read every reply of a run anew, without a call.

    What was kept before and passes no more is counted, and stays: people may have voted on it.
    """
    with store.write() as session:
        run = queries.by_name(session, Run, run_name, Run.kind == "generate", noun="generation run")
        if run.settings["task"] != task.name:
            raise UserError(f"{run_name} wrote {run.settings['task']}", hint=f"not {task.name}")
        run_id = run.id
        mine = select(Call.id).where(Call.run_id == run_id)
        session.execute(delete(Rejection).where(Rejection.call_id.in_(mine)))
        journal.forget_reading(session, run_id)
        before = set(session.scalars(select(task.table.id).where(task.table.run_id == run_id)))
    while _read_some(store, task, run_id, before):
        pass
    with store.write() as session:
        results = usage.results(session, run_id, task.name) | {"no longer found": len(before)}
        run = session.get_one(Run, run_id)
        run.results = run.results | results
    return results


def begin(
    store: Store, task: Task, settings: LLMSettings, only: Sequence[int] | None
) -> tuple[int, Sequence[int]]:
    """A run that was stopped with these settings, or a new one; and the images.

    UserError where there is no image.
    """
    chosen = identity(task, settings)
    with store.write() as session:
        query = select(Image.id).order_by(Image.id)
        image_ids = session.scalars(
            query if only is None else query.where(Image.id.in_(only))
        ).all()
        if not image_ids:
            raise UserError("no images to write about", hint="import some with `lskd import`")
        stopped = session.scalars(
            select(Run).where(Run.kind == "generate", Run.status != "done").order_by(Run.id.desc())
        )
        fingerprint = keys.fingerprint(image_ids)
        for run in stopped:
            if run.settings == chosen and run.fingerprint == fingerprint:
                run.status, run.finished = "running", None
                return run.id, image_ids
        run = runs.start(session, "generate", settings=chosen, fingerprint=fingerprint)
        return run.id, image_ids


def doing(task: Task, settings: LLMSettings) -> str:
    """What two processes may not do at a time: both would pay for the same replies."""
    return f"{task.name} by {settings.model}"


def identity(task: Task, settings: LLMSettings) -> dict[str, Any]:
    """What makes a run the same run."""
    return {
        "task": task.name,
        "model": settings.model,
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        **task.settings(),
    }


@dataclass
class _Calls:
    """The calls of one run, so many at once."""

    store: Store
    task: Task
    settings: LLMSettings
    run_id: int
    image_ids: Sequence[int]
    llm: LLM
    price: Price | None
    counter: Counter
    progress: Progress
    stop: threading.Event
    stopped: str = ""
    made: int = 0
    before: int = 0
    lacking: Tally[str] = field(default_factory=Tally)
    done_images: int = 0

    async def all(self) -> None:
        """Make every call that has no reply; returns early where the budget or a person says so."""
        with self.store.read() as session:
            spent = journal.spent(session)
            finished = journal.finished_images(session, self.run_id, self.task.samples)
        budget = round(self.settings.budget * MILLION) if self.settings.budget else None
        self.purse = Purse(budget, spent)
        self.before = len(finished) * self.task.samples
        self.journal = journal.Journal(self.store, self.run_id)
        self.queue: asyncio.Queue[Request | None] = asyncio.Queue(self.settings.concurrency)
        self.news = asyncio.Event()
        self.threads = ThreadPoolExecutor(2)
        todo = [image_id for image_id in self.image_ids if image_id not in finished]
        self.done_images = len(finished)
        background = [
            asyncio.create_task(self.journal.run()),
            asyncio.create_task(self._read()),
        ]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._produce(todo))
                for _ in range(self.settings.concurrency):
                    group.create_task(self._work())
        except* UserError as errors:
            raise errors.exceptions[0] from None
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self.llm.close()
            self.journal.close()
            self.threads.shutdown()

    def told(self) -> dict[str, Any]:
        """What the results say besides."""
        told: dict[str, Any] = {"calls made": self.made, "answered before": self.before}
        return told | dict(self.lacking) | ({"stopped": self.stopped} if self.stopped else {})

    def _is_over(self) -> bool:
        if self.stop.is_set():
            self.stopped = "by hand"
        return bool(self.stopped)

    async def _produce(self, image_ids: Sequence[int]) -> None:
        async for some in self._undone(image_ids):
            for one in some:
                await self.queue.put(one)
        for _ in range(self.settings.concurrency):
            await self.queue.put(None)

    async def _undone(self, image_ids: Sequence[int]) -> AsyncIterator[list[Request]]:
        loop = asyncio.get_running_loop()
        for chunk in chunks(image_ids):
            if self._is_over():
                return
            found, known, lacking = await loop.run_in_executor(self.threads, self._look, chunk)
            learn(self.counter, self.price, found, known)
            self.before += len(known)
            self.lacking += lacking
            yield [r for r in found if r.fingerprint not in known]
            self.done_images += len(chunk)
            self.progress(self.done_images, len(self.image_ids))

    def _look(self, image_ids: Sequence[int]) -> tuple[list[Request], dict[str, int], Tally[str]]:
        with self.store.read() as session:
            return requests(session, self.task, self.settings, image_ids)

    async def _work(self) -> None:
        while (one := await self.queue.get()) is not None:
            if self._is_over():
                continue
            counted = tokens_of(self.counter, self.price, one) if self.price else 0
            most = self.price.of(counted, self.settings.max_tokens) if self.price else 0
            try:
                await self.purse.hold(most)
            except Empty:
                self.stopped = "the budget is spent"
                continue
            outcome = await self._ask(one)
            entry = journal.entry(one, outcome, counted, self.price)
            await self.journal.keep(entry)
            await self.purse.settle(most, entry.cost)
            self.made += 1
            if not isinstance(outcome, Failure):
                learn(
                    self.counter, self.price, [one], {one.fingerprint: outcome.prompt_tokens or 0}
                )
                self.news.set()

    async def _ask(self, one: Request) -> Reply | Failure:
        if one.picture is None:
            return await self.llm.ask(one)
        loop = asyncio.get_running_loop()
        try:
            picture = await loop.run_in_executor(
                self.threads, picture_of, self.store, one.image_id, self.task.side
            )
        except UserError as error:
            return Failure(str(error), 0)
        return await self.llm.ask(one, picture)

    async def _read(self) -> None:
        """Read replies while others are on their way."""
        loop = asyncio.get_running_loop()
        while True:
            await self.news.wait()
            self.news.clear()
            while await loop.run_in_executor(
                self.threads, _read_some, self.store, self.task, self.run_id
            ):
                pass
            await asyncio.sleep(0.5)


def read_all(store: Store, task: Task, run_id: int) -> None:
    """Read every reply of a run from which nothing has been read yet."""
    while _read_some(store, task, run_id):
        pass


def _read_some(store: Store, task: Task, run_id: int, before: set[int] | None = None) -> int:
    """Read some replies: their rows, their faults and their being read, in one transaction.

    Rows in `before` do not stand until they are found again, and then leave it.
    """
    before = before if before is not None else set()
    with store.write() as session:
        calls = journal.unread(session, run_id, _READ)
        if not calls:
            return 0
        image_ids = sorted({call.image_id for call in calls})
        own = {"but": Triple, "but_texts": Verbalization}
        but = {name: before for name, table in own.items() if task.table is table}
        by_image = {brief.image_id: brief for brief in briefs(session, image_ids, **but)}
        sources = dict(
            session.execute(
                select(Image.id, Source.name).join(Source).where(Image.id.in_(image_ids))
            ).all()
        )
        run = session.get_one(Run, run_id)
        rows: list[dict[str, Any]] = []
        faults: list[dict[str, Any]] = []
        for call in calls:
            brief = by_image[call.image_id]
            by = Origin(sources[call.image_id], run.settings["model"])
            found = task.read(brief, by, call.reply, call.finish)
            origin = {"image_id": call.image_id, "model": by.model, "run_id": run_id}
            rows += [row | origin for row in found.rows]
            by_image[call.image_id] = brief.with_existing(found.rows)
            faults += [
                {"call_id": call.id, "reason": f.reason, "detail": f.detail, "text": f.text}
                for f in found.faults
            ]
            call.read = now()
        if rows:
            session.execute(
                upsert.dialect_insert(session, task.table).on_conflict_do_nothing(
                    index_elements=["image_id", "key"]
                ),
                rows,
            )
            if before:
                table = task.table
                again = select(table.id).where(table.key.in_([row["key"] for row in rows]))
                before.difference_update(
                    session.scalars(again.where(table.image_id.in_(image_ids)))
                )
        if faults:
            session.execute(insert(Rejection), faults)
        return len(calls)
