"""Runs a task over all images: makes the calls that have no reply yet and parses the replies."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select

from db.schema import Image, Run
from db.store import keys, runs
from db.store.locks import exclusive_lock
from db.store.results import to_json
from db.store.session import Store
from generation.llm.client import LLMClient, OnWait
from generation.llm.request_format import request_options
from generation.runs.cost_estimate import cost_model
from generation.runs.dispatcher import CallCounts, Dispatcher, RunInputs, StopSignal
from generation.runs.parsing import parse_replies
from generation.runs.results import GenerateResults, StopReason
from generation.runs.usage import count_usage, extend
from generation.settings import LLMSettings
from generation.tasks.protocol import Task
from regions.errors import UserError
from regions.progress import Progress, no_progress


def generate(
    store: Store,
    task: Task,
    settings: LLMSettings,
    *,
    only: Sequence[int] | None = None,
    stop: threading.Event | None = None,
    progress: Progress = no_progress,
    on_wait: OnWait = lambda _seconds: None,
) -> Run:
    """Run `task` over all images, or over the images `only`; the run with its results.

    A run that was stopped with the same settings is resumed. Setting `stop` ends the run once the
    calls in flight are finished. `on_wait` is told when calls wait for the server's rate limit.
    Raises UserError before any call if none could succeed, and as soon as it is clear that all
    fail in the same way.
    """
    costs = cost_model(settings)
    interrupted = stop or threading.Event()
    stop_signal = StopSignal(interrupted)
    client = LLMClient(settings, should_stop=stop_signal.is_set, on_wait=on_wait)
    with exclusive_lock(store, lock_name(task, settings)):
        run_id, image_ids = start_or_resume(store, task, settings, only)
        inputs = RunInputs(store, task, settings, run_id, image_ids)
        dispatcher = Dispatcher(inputs, client, costs, stop_signal, progress)
        with runs.mark_failed_on_error(store, run_id):
            parse_replies(store, task, run_id)
            try:
                with _interruptible(interrupted):
                    _run_in_new_event_loop(dispatcher.run)
            finally:
                parse_replies(store, task, run_id)
            stop_signal.raise_error()
        return _finish(inputs, dispatcher.counts, stop_signal.reason)


def _finish(inputs: RunInputs, counts: CallCounts, stopped: StopReason | None) -> Run:
    with inputs.store.write() as session:
        results = extend(
            count_usage(session, inputs.run_id, inputs.task.name),
            GenerateResults,
            calls_made=counts.made,
            answered_before=counts.answered_before,
            awaiting_collection=counts.submitted_before,
            skipped_images=dict(counts.images.skipped),
            images_in_other_language=counts.images.in_other_language,
            stopped=stopped,
        )
        runs.finish(session, inputs.run_id, to_json(results))
        run = session.get_one(Run, inputs.run_id)
        if stopped:
            run.status = "failed"  # so that the same command resumes it
    return run


def start_or_resume(
    store: Store, task: Task, settings: LLMSettings, only: Sequence[int] | None
) -> tuple[int, Sequence[int]]:
    """Return the id of a stopped run with these settings, or of a new one, and its images' ids.

    UserError if there are no images.
    """
    run_settings = identity(task, settings)
    with store.write() as session:
        query = select(Image.id).order_by(Image.id)
        if only is not None:
            query = query.where(Image.id.in_(only))
        image_ids = session.scalars(query).all()
        if not image_ids:
            raise UserError("the store has no images", hint="import some with lskd import")
        run = runs.start_or_resume(
            session,
            "generate",
            settings=run_settings,
            name="",
            seed=0,
            fingerprint=keys.fingerprint(image_ids),
            simulated=False,
        )
        return run.id, image_ids


def lock_name(task: Task, settings: LLMSettings) -> str:
    """Return the name of the lock that keeps two processes from paying for the same replies."""
    return f"{task.name} by {settings.model}"


def identity(task: Task, settings: LLMSettings) -> dict[str, Any]:
    """Return the settings by which a stopped run is found again, as stored in `runs.settings`."""
    options = request_options(settings.request_options)
    return {
        "task": task.name,
        "model": settings.model,
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        **({"request_options": dict(options)} if options else {}),
        **task.settings(),
    }


def _run_in_new_event_loop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `work` in another thread: the caller may be inside an event loop, as in a notebook."""
    finished: Future[None] = Future()

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:  # noqa: BLE001 - raised by `result` below
            finished.set_exception(error)
        else:
            finished.set_result(None)

    threading.Thread(target=run, daemon=True).start()
    finished.result()


@contextmanager
def _interruptible(stop: threading.Event) -> Iterator[None]:
    """Have the first Ctrl+C set `stop`; the second one interrupts as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGINT)

    def on_interrupt(_signal: int, _frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
