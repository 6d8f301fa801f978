"""Runs by the Batch API: submit requests now, collect the replies hours later at a lower price.

Submitted requests are in the journal, so no other run sends them, and their maximum cost counts
towards the budget. A submission is stored, with a key of ours that the server keeps, before it is
sent: after a crash in between, the server is asked whether it has a batch with that key.
"""

import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.schema import Call, Run, Submission
from db.store import runs
from db.store.clock import now
from db.store.locks import exclusive_lock
from db.store.results import to_json
from db.store.session import Store
from generation.llm import batch_api
from generation.llm.batch_api import BatchApiClient, BatchRejectedError, BatchState, FileGoneError
from generation.llm.pricing import MILLION, CostModel, Price
from generation.llm.protocol import Failure, Reply, Request
from generation.runs import journal
from generation.runs.cost_estimate import cost_model
from generation.runs.images import image_data_url
from generation.runs.open_requests import ImageCounts, chunks, load_requests
from generation.runs.parsing import parse_replies
from generation.runs.results import (
    CollectResults,
    PendingBatch,
    StopReason,
    SubmitResults,
    Usage,
)
from generation.runs.run import identity, lock_name, start_or_resume
from generation.runs.usage import count_usage, extend
from generation.settings import LLMSettings
from generation.tasks.protocol import Task
from regions.errors import ConflictError, UserError
from regions.progress import Progress, no_progress

_BATCH_SIZE = 256
"""Replies per transaction."""

_LOST_AFTER = 2 * 24 * 60 * 60 * 1000
"""Milliseconds after which a batch that the server does not know is lost: batches take a day.

Until then the key may be that of another account.
"""
_UNKNOWN = "not known to the server: check the key and --base-url"

Outcome = tuple[str, Reply | Failure]
"""Fingerprint of a request and what came of it."""


def submit(
    store: Store, task: Task, settings: LLMSettings, progress: Progress = no_progress
) -> Run:
    """Submit every request that has no reply and is in no batch, as far as the budget allows."""
    costs, client = cost_model(settings, batch=True), BatchApiClient(settings)
    with exclusive_lock(store, lock_name(task, settings)), tempfile.TemporaryDirectory() as folder:
        run_id, image_ids = start_or_resume(store, task, settings, None)
        with runs.mark_failed_on_error(store, run_id):
            _recover_submissions(store, client, run_id)
            submitter = _Submitter(store, task, settings, costs, progress)
            buffer = _RequestBuffer(store, client, run_id, Path(folder))
            stopped = submitter.fill(buffer, image_ids)
            buffer.submit()
    with store.write() as session:
        results = extend(
            count_usage(session, run_id, task.name),
            SubmitResults,
            newly_submitted=buffer.n_submitted,
            awaiting_collection=submitter.submitted_before,
            skipped_images=dict(submitter.images.skipped),
            images_in_other_language=submitter.images.in_other_language,
            stopped=stopped,
        )
        return _store_results(session, run_id, results, is_open=stopped is not None)


@dataclass
class _Submitter:
    """Brings the open requests of a run into a buffer."""

    store: Store
    task: Task
    settings: LLMSettings
    costs: CostModel
    progress: Progress
    submitted_before: int = 0
    images: ImageCounts = field(default_factory=ImageCounts)

    def fill(self, buffer: "_RequestBuffer", image_ids: Sequence[int]) -> StopReason | None:
        """Add requests to the buffer as far as the budget allows; why this ended early."""
        with self.store.read() as session:
            left = round(self.settings.budget * MILLION) - journal.total_cost(session)
        for request in self._unanswered(image_ids):
            max_cost = self._max_cost(request)
            if self.settings.budget and max_cost > left:
                return "budget_spent"
            try:
                image_url = (
                    image_data_url(self.store, request.image_id, self.task.side)
                    if request.image_size
                    else ""
                )
            except UserError as error:
                buffer.write_failure(request, str(error))
                continue
            left -= max_cost
            buffer.add(request, batch_api.request_line(self.settings, request, image_url), max_cost)
        return None

    def _max_cost(self, request: Request) -> int:
        if self.costs.price is None:
            return 0
        return self.costs.max_cost(self.costs.prompt_tokens(request))

    def _unanswered(self, image_ids: Sequence[int]) -> Iterator[Request]:
        n_done = 0
        for image_chunk in chunks(image_ids):
            with self.store.read() as session:
                chunk = load_requests(session, self.task, self.settings, image_chunk)
            self.submitted_before += chunk.submitted
            self.images.add(chunk.image_counts)
            yield from chunk.unanswered
            n_done += len(image_chunk)
            self.progress(n_done, len(image_ids))


@dataclass
class _RequestBuffer:
    """Collects requests in memory and submits them in files of the maximum size."""

    store: Store
    client: BatchApiClient
    run_id: int
    folder: Path
    n_submitted: int = 0
    _lines: list[bytes] = field(default_factory=list)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _bytes: int = 0

    def add(self, request: Request, line: bytes, max_cost: int) -> None:
        """Add a request; submits the others first if the file would become too large."""
        if (
            len(self._rows) >= batch_api.MAX_REQUESTS
            or self._bytes + len(line) > batch_api.MAX_BYTES
        ):
            self.submit()
        self._lines.append(line)
        self._bytes += len(line)
        self._rows.append(journal.submitted_row(self.run_id, request, max_cost))

    def write_failure(self, request: Request, reason: str) -> None:
        """Record that a request cannot be made."""
        with self.store.write() as session:
            entry = journal.make_entry(request, Failure(reason, 0), 0, None)
            journal.write(session, self.run_id, [entry])

    def submit(self) -> None:
        """Store the submission, then send it."""
        if not self._rows:
            return
        key = uuid.uuid4().hex
        with self.store.write() as session:
            submission = Submission(
                key=key,
                run_id=self.run_id,
                base_url=self.client.base_url,
                requests=len(self._rows),
                created=now(),
            )
            session.add(submission)
            session.flush()
            submission_id = submission.id
            journal.upsert(session, [row | {"submission_id": submission_id} for row in self._rows])
        file = self.folder / f"{key}.jsonl"
        file.write_bytes(b"".join(self._lines))
        try:
            batch_id = self.client.submit(file, key)
        except BatchRejectedError as error:
            with self.store.write() as session:
                _close(session, session.get_one(Submission, submission_id), error.problem)
            raise
        with self.store.write() as session:
            session.get_one(Submission, submission_id).remote = batch_id
        file.unlink()
        self.n_submitted += len(self._rows)
        self._lines, self._rows, self._bytes = [], [], 0


def collect(
    store: Store, task: Task, settings: LLMSettings, progress: Progress = no_progress
) -> Run:
    """Fetch and parse the replies to what was submitted with these settings."""
    price, client = cost_model(settings, batch=True).price, BatchApiClient(settings)
    run_id = _open_run(store, identity(task, settings))
    pending: list[PendingBatch] = []
    counts = _FetchCounts()
    with (
        exclusive_lock(store, lock_name(task, settings)),
        runs.mark_failed_on_error(store, run_id),
    ):
        _recover_submissions(store, client, run_id)
        submissions = _open_submissions(store, run_id)
        for n, submission in enumerate(submissions, 1):
            state = client.state(submission.remote)
            if state is None and now() - submission.created > _LOST_AFTER:
                _write_off(store, submission)
            elif state is not None and state.is_final:
                _fetch(store, client, submission, state, price, counts)
            else:
                status, answered = (state.status, state.answered) if state else (_UNKNOWN, 0)
                pending.append(
                    PendingBatch(submission.remote, status, answered, submission.requests)
                )
            progress(n, len(submissions))
        parse_replies(store, task, run_id)
    with store.write() as session:
        results = extend(
            count_usage(session, run_id, task.name),
            CollectResults,
            pending_batches=pending,
            unknown_replies=counts.unknown,
            unreadable_lines=counts.unreadable,
        )
        return _store_results(session, run_id, results, is_open=False)


def _open_run(store: Store, settings: dict[str, Any]) -> int:
    """Return the newest run with these settings that has a submission to collect."""
    with store.read() as session:
        run_ids = select(Submission.run_id).where(Submission.collected.is_(None))
        query = select(Run).where(Run.id.in_(run_ids)).order_by(Run.id.desc())
        for run in session.scalars(query):
            if run.settings == settings:
                return run.id
    raise ConflictError(
        "there is nothing to collect for these settings", hint="submit requests with --submit"
    )


def _open_submissions(store: Store, run_id: int) -> Sequence[Submission]:
    with store.read() as session:
        query = select(Submission).where(
            Submission.run_id == run_id, Submission.collected.is_(None)
        )
        return session.scalars(query.order_by(Submission.id)).all()


def _recover_submissions(store: Store, client: BatchApiClient, run_id: int) -> None:
    """Find submissions on the server that were being sent when a run broke off, or fail them."""
    for submission in _open_submissions(store, run_id):
        if submission.remote:
            continue
        batch_id = client.find(submission.key)
        with store.write() as session:
            stored = session.get_one(Submission, submission.id)
            if batch_id is None:
                _close(session, stored, "the submission did not reach the server")
            else:
                stored.remote = batch_id


@dataclass
class _FetchCounts:
    """What output files have that belongs to no request."""

    unknown: int = 0
    """Replies to requests that were not submitted."""
    unreadable: int = 0
    """Lines that do not say which request they are about."""


def _fetch(  # noqa: PLR0917 - the parts of a fetch
    store: Store,
    client: BatchApiClient,
    submission: Submission,
    state: BatchState,
    price: Price | None,
    counts: _FetchCounts,
) -> None:
    """Store the replies of a finished batch; its requests without one fail."""
    reason = state.error or f"the batch ended as {state.status} without a reply"
    for file in state.output_files:
        try:
            for lines in _batched(client.replies(file)):
                outcomes = [line for line in lines if line is not None]
                counts.unreadable += len(lines) - len(outcomes)
                with store.write() as session:
                    counts.unknown += _write_outcomes(session, submission.run_id, outcomes, price)
        except FileGoneError:
            reason = "the server has deleted the batch's replies"
    with store.write() as session:
        _close(session, session.get_one(Submission, submission.id), reason)


def _write_off(store: Store, submission: Submission) -> None:
    """Fail the requests of a batch that the server has lost."""
    with store.write() as session:
        stored = session.get_one(Submission, submission.id)
        _close(session, stored, "the server does not know the batch any more")


def _batched(lines: Iterator[Outcome | None]) -> Iterator[list[Outcome | None]]:
    while batch := list(islice(lines, _BATCH_SIZE)):
        yield batch


def _write_outcomes(
    session: Session, run_id: int, outcomes: Sequence[Outcome], price: Price | None
) -> int:
    """Store the outcomes of known requests; the number of others."""
    fingerprints = [fingerprint for fingerprint, _ in outcomes]
    query = select(Call).where(Call.fingerprint.in_(fingerprints))
    calls = {call.fingerprint: call for call in session.scalars(query)}
    entries = [
        journal.make_entry(_request(calls[fingerprint]), outcome, 0, price)
        for fingerprint, outcome in outcomes
        if fingerprint in calls
    ]
    journal.write(session, run_id, entries)
    return len(outcomes) - len(entries)


def _close(session: Session, submission: Submission, reason: str) -> None:
    """Close a submission; its calls without a reply fail and may be made again."""
    session.execute(
        update(Call)
        .where(Call.submission_id == submission.id, Call.status == "submitted")
        .values(status="failed", error=reason, cost=0)
    )
    submission.collected = now()


def _request(call: Call) -> Request:
    return Request(call.fingerprint, call.image_id, call.sample, (), {})


def _store_results(session: Session, run_id: int, results: Usage, *, is_open: bool) -> Run:
    """Store results; the run stays open while requests are in batches.

    If only some were held back, it has failed, so that the same command resumes it.
    """
    runs.finish(session, run_id, to_json(results))
    run = session.get_one(Run, run_id)
    if results.submitted:
        run.status, run.finished = "running", None
    elif is_open:
        run.status = "failed"
    return run
