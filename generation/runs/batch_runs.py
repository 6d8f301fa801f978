"""Submit requests, leave, and collect the replies: at half the price where the server grants that.

The journal knows what waits, so nothing is asked for twice; what it may cost at most counts towards
the budget. A submission is written down before it is handed in, with a key of ours that the server
keeps: after a crash in between it is found there, or was never made.
"""

import tempfile
import uuid
from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from db.schema import Call, Run, Submission
from db.store import runs
from db.store.clock import now
from db.store.locks import exclusive_lock
from db.store.session import Store
from generation.llm import batch_api
from generation.llm.batch_api import Later
from generation.llm.client import Failure, Reply, Request
from generation.llm.pricing import MILLION, Price
from generation.runs import journal, usage
from generation.runs.cost_estimate import chunks, counter_for, price_for, requests, tokens_of
from generation.runs.run import begin, doing, identity, read_all
from generation.settings import LLMSettings
from generation.tasks.protocol import Task
from generation.verbalize.run import picture_of
from regions.errors import UserError
from regions.progress import Progress, no_progress

_TOGETHER = 256
"""Replies written in one transaction."""


def submit(
    store: Store, task: Task, settings: LLMSettings, progress: Progress = no_progress
) -> Run:
    """Hand in everything that has no reply and does not wait for one, as far as the budget goes."""
    server = Later(settings)
    with exclusive_lock(store, doing(task, settings)), tempfile.TemporaryDirectory() as folder:
        run_id, image_ids = begin(store, task, settings, None)
        with runs.mark_failed_on_error(store, run_id):
            _look_for_lost(store, server, run_id)
            desk = _Desk(store, server, run_id, Path(folder))
            undone = _undone(desk, task, settings, image_ids, progress)
            stopped = _gather(desk, undone, task, settings)
            desk.hand_in()
    told = {"stopped": stopped} if stopped else {}
    return _told(store, task, run_id, {"newly submitted": desk.handed_in, **desk.lacking, **told})


def _undone(
    desk: "_Desk",
    task: Task,
    settings: LLMSettings,
    image_ids: Sequence[int],
    progress: Progress,
) -> Iterator[Request]:
    """Requests that have no reply and wait for none; the desk counts why others are not made."""
    seen = 0
    for chunk in chunks(image_ids):
        with desk.store.read() as session:
            found, known, reasons = requests(session, task, settings, chunk)
        desk.lacking.update(reasons)
        yield from (one for one in found if one.fingerprint not in known)
        seen += len(chunk)
        progress(seen, len(image_ids))


def _gather(desk: "_Desk", undone: Iterator[Request], task: Task, settings: LLMSettings) -> str:
    """Bring requests to the desk as far as the budget goes; why it ended early, or nothing."""
    price, counter = price_for(settings, later=True), counter_for(settings)
    with desk.store.read() as session:
        left = round(settings.budget * MILLION) - journal.spent(session)
    for one in undone:
        most = price.of(tokens_of(counter, price, one), settings.max_tokens) if price else 0
        if settings.budget and most > left:
            return "the budget is spent"
        try:
            picture = picture_of(desk.store, one.image_id, task.side) if one.picture else ""
        except UserError as error:
            desk.refuse(one, str(error))
            continue
        left -= most
        desk.add(one, batch_api.line(settings, one, picture), most)
    return ""


def collect(
    store: Store, task: Task, settings: LLMSettings, progress: Progress = no_progress
) -> Run:
    """Fetch what the server has answered of what was submitted with these settings, and read it."""
    price, server = price_for(settings, later=True), Later(settings)
    run_id = _waiting_run(store, identity(task, settings))
    told: dict[str, Any] = {}
    with exclusive_lock(store, doing(task, settings)), runs.mark_failed_on_error(store, run_id):
        _look_for_lost(store, server, run_id)
        waiting = _open(store, run_id)
        for n, submission in enumerate(waiting, 1):
            state = server.state(submission.remote)
            if state.ended:
                if strange := _fetch(store, server, submission, state, price):
                    told["replies that nobody asked for"] = strange
            else:
                told[submission.remote] = f"{state.name}, {state.answered} of {submission.requests}"
            progress(n, len(waiting))
        read_all(store, task, run_id)
    return _told(store, task, run_id, told)


def _waiting_run(store: Store, settings: dict[str, Any]) -> int:
    """The newest run with these settings that has submitted something and not collected it."""
    with store.read() as session:
        open_runs = select(Submission.run_id).where(Submission.collected.is_(None))
        query = select(Run).where(Run.id.in_(open_runs)).order_by(Run.id.desc())
        found = [run.id for run in session.scalars(query) if run.settings == settings]
    if not found:
        raise UserError("nothing waits that was submitted with these settings", hint="use --submit")
    return found[0]


@dataclass
class _Desk:
    """Where requests gather until a file of them is handed in."""

    store: Store
    server: Later
    run_id: int
    folder: Path
    handed_in: int = 0
    lacking: Tally[str] = field(default_factory=Tally)
    _lines: list[bytes] = field(default_factory=list)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _bytes: int = 0

    def add(self, one: Request, line: bytes, most: int) -> None:
        """Put a request to the others; a file that is full is handed in before."""
        if (
            len(self._rows) >= batch_api.MOST_REQUESTS
            or self._bytes + len(line) > batch_api.MOST_BYTES
        ):
            self.hand_in()
        self._lines.append(line)
        self._bytes += len(line)
        self._rows.append(journal.waiting_row(self.run_id, one, most))

    def refuse(self, one: Request, reason: str) -> None:
        """Write down that a request cannot be made."""
        with self.store.write() as session:
            entry = journal.entry(one, Failure(reason, 0), 0, None)
            journal.write(session, self.run_id, [entry])

    def hand_in(self) -> None:
        """Write down what is submitted, then submit it."""
        if not self._rows:
            return
        key = uuid.uuid4().hex
        with self.store.write() as session:
            made = Submission(
                key=key,
                run_id=self.run_id,
                base_url=self.server.address,
                requests=len(self._rows),
                created=now(),
            )
            session.add(made)
            session.flush()
            journal.upsert(session, [row | {"submission_id": made.id} for row in self._rows])
            submission_id = made.id
        file = self.folder / f"{key}.jsonl"
        file.write_bytes(b"".join(self._lines))
        remote = self.server.hand_in(file, key)
        with self.store.write() as session:
            session.get_one(Submission, submission_id).remote = remote
        file.unlink()
        self.handed_in += len(self._rows)
        self._lines, self._rows, self._bytes = [], [], 0


def _open(store: Store, run_id: int) -> Sequence[Submission]:
    with store.read() as session:
        query = select(Submission).where(
            Submission.run_id == run_id, Submission.collected.is_(None)
        )
        return session.scalars(query.order_by(Submission.id)).all()


def _look_for_lost(store: Store, server: Later, run_id: int) -> None:
    """Submissions that were being handed in when something broke: found there, or given up."""
    for submission in _open(store, run_id):
        if submission.remote:
            continue
        remote = server.find(submission.key)
        with store.write() as session:
            mine = session.get_one(Submission, submission.id)
            if remote is None:
                _give_up(session, mine, "it never reached the server")
            else:
                mine.remote = remote


def _fetch(
    store: Store, server: Later, submission: Submission, state: batch_api.State, price: Price | None
) -> int:
    """Write down the replies of a submission that has ended; how many were not asked for."""
    strange = 0
    for file in state.files:
        for some in _together(server.replies(file)):
            with store.write() as session:
                calls = {
                    call.fingerprint: call
                    for call in session.scalars(
                        select(Call).where(Call.fingerprint.in_([name for name, _ in some]))
                    )
                }
                strange += sum(name not in calls for name, _ in some)
                journal.write(
                    session,
                    submission.run_id,
                    [
                        journal.entry(_request(calls[name]), outcome, 0, price)
                        for name, outcome in some
                        if name in calls
                    ],
                )
    with store.write() as session:
        _give_up(
            session,
            session.get_one(Submission, submission.id),
            state.fault or f"the submission ended as {state.name}, without a reply",
        )
    return strange


def _give_up(session: Any, submission: Submission, reason: str) -> None:  # noqa: ANN401
    """Close a submission: what has no reply by now has failed, and may be asked again."""
    session.execute(
        update(Call)
        .where(Call.submission_id == submission.id, Call.status == "submitted")
        .values(status="failed", error=reason, cost=0)
    )
    submission.collected = now()


def _request(call: Call) -> Request:
    return Request(call.fingerprint, call.image_id, call.sample, (), {})


def _together(
    replies: Iterator[tuple[str, Reply | Failure]],
) -> Iterator[list[tuple[str, Reply | Failure]]]:
    some: list[tuple[str, Reply | Failure]] = []
    for one in replies:
        some.append(one)
        if len(some) >= _TOGETHER:
            yield some
            some = []
    if some:
        yield some


def _told(store: Store, task: Task, run_id: int, told: dict[str, Any]) -> Run:
    """The run with its results; it goes on as long as something waits."""
    with store.write() as session:
        run = session.get_one(Run, run_id)
        runs.finish(session, run_id, usage.results(session, run_id, task.name) | told)
        if run.results.get("submitted") or told.get("stopped"):
            run.status, run.finished = "running", None
    return run
