"""The journal of calls: requests are looked up before they are sent, replies stored before parsing.

One row of `calls` per request, keyed by its fingerprint. A reply replaces an earlier failure and is
never replaced itself.
"""

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, case, func, or_, select, update
from sqlalchemy.orm import Session

from db.schema import Call
from db.store.clock import now
from db.store.session import Store
from db.store.upsert import dialect_insert
from generation.llm.pricing import Price
from generation.llm.protocol import Failure, Reply, Request

_BATCH_SIZE = 256
"""Maximum entries per transaction."""
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """A call with its outcome, tokens and cost in millionths of a dollar."""

    request: Request
    outcome: Reply | Failure
    prompt_tokens: int
    completion_tokens: int
    cost: int


def make_entry(
    request: Request, outcome: Reply | Failure, prompt_tokens: int, price: Price | None
) -> Entry:
    """Return an entry with its cost.

    `prompt_tokens` count if the server reports no usage. A failure costs only what it reports.
    """
    completion_tokens = outcome.completion_tokens
    if isinstance(outcome, Failure):
        prompt_tokens, completion_tokens = outcome.prompt_tokens or 0, completion_tokens or 0
    else:
        if outcome.prompt_tokens is not None:
            prompt_tokens = outcome.prompt_tokens
        if completion_tokens is None:
            completion_tokens = len(outcome.text) // _CHARACTERS_PER_TOKEN + 1
    cost = price.cost(prompt_tokens, completion_tokens) if price else 0
    return Entry(request, outcome, prompt_tokens, completion_tokens, cost)


def answered(session: Session, fingerprints: Sequence[str]) -> dict[str, int]:
    """Return the prompt tokens of those requests that have a reply, by fingerprint."""
    query = select(Call.fingerprint, Call.prompt_tokens).where(
        Call.fingerprint.in_(fingerprints), Call.status == "answered"
    )
    return dict(session.execute(query).all())


def submitted(session: Session, fingerprints: Sequence[str]) -> set[str]:
    """Return those requests that are in a batch and have no reply yet."""
    query = select(Call.fingerprint).where(
        Call.fingerprint.in_(fingerprints), Call.status == "submitted"
    )
    return set(session.scalars(query))


def finished_images(session: Session, run_id: int, samples: int) -> set[int]:
    """Return the images for which a run has all replies."""
    query = (
        select(Call.image_id)
        .where(Call.run_id == run_id, Call.status == "answered")
        .group_by(Call.image_id)
        .having(func.count() >= samples)
    )
    return set(session.scalars(query))


def total_cost(session: Session) -> int:
    """Return the cost of all calls in millionths of a dollar; of submitted calls, the maximum."""
    return int(session.scalar(select(func.sum(Call.cost))) or 0)


def unparsed(session: Session, run_id: int, limit: int) -> Sequence[Call]:
    """Return replies of a run that have not been parsed yet, oldest first."""
    query = select(Call).where(
        Call.run_id == run_id, Call.status == "answered", Call.read.is_(None)
    )
    return session.scalars(query.order_by(Call.id).limit(limit)).all()


def mark_unparsed(session: Session, run_id: int) -> None:
    """Have all replies of a run parsed again."""
    session.execute(
        update(Call).where(Call.run_id == run_id, Call.status == "answered").values(read=None)
    )


def release_errors(session: Session, run_id: int) -> int:
    """Turn replies that are errors of the server into failures; how many there were.

    Earlier versions stored an error within a response of status 200 as a reply.
    """
    is_error = or_(Call.finish == "error", and_(Call.finish == "empty", Call.reply == ""))
    released = session.scalars(
        update(Call)
        .where(Call.run_id == run_id, Call.status == "answered", is_error)
        .values(status="failed", read=None, error="the server sent an error instead of a reply")
        .returning(Call.id)
    )
    return len(released.all())


def write(session: Session, run_id: int, entries: Iterable[Entry]) -> None:
    """Insert entries; a reply replaces an earlier failure, never an earlier reply."""
    upsert(session, [_row(run_id, entry) for entry in entries])


def upsert(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Insert or update rows of `calls`, except those of requests that have a reply.

    What a failed call has cost is added to the cost of its repetition.
    """
    if not rows:
        return
    statement = dialect_insert(session, Call)
    values = {name: statement.excluded[name] for name in rows[0] if name != "fingerprint"}
    paid = case((Call.status == "failed", Call.cost), else_=0)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["fingerprint"],
            set_=values | {"cost": statement.excluded.cost + paid},
            where=Call.status != "answered",
        ),
        rows,
    )


def submitted_row(run_id: int, request: Request, max_cost: int) -> dict[str, Any]:
    """Return a row of `calls` for a request in a batch, with its maximum cost."""
    entry = Entry(request, Failure("", 0), 0, 0, max_cost)
    return _row(run_id, entry) | {"status": "submitted"}


def _row(run_id: int, entry: Entry) -> dict[str, Any]:
    request, outcome = entry.request, entry.outcome
    row = {
        "fingerprint": request.fingerprint,
        "run_id": run_id,
        "image_id": request.image_id,
        "sample": request.sample,
        "status": "failed" if isinstance(outcome, Failure) else "answered",
        "attempts": outcome.attempts,
        "prompt_tokens": entry.prompt_tokens,
        "completion_tokens": entry.completion_tokens,
        "cost": entry.cost,
        "created": now(),
        "reply": "",
        "finish": "",
        "error": "",
        "milliseconds": 0,
    }
    if isinstance(outcome, Failure):
        return row | {"error": outcome.error}
    return row | {
        "reply": outcome.text,
        "finish": outcome.finish_reason,
        "milliseconds": outcome.milliseconds,
    }


class JournalWriter:
    """Writes entries from an event loop, grouped into transactions, in a thread of its own."""

    def __init__(self, store: Store, run_id: int) -> None:
        self._store, self._run_id = store, run_id
        self._queue: asyncio.Queue[tuple[Entry, asyncio.Future[None]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1)

    async def write(self, entry: Entry) -> None:
        """Return once the entry has been committed."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((entry, written))
        await written

    async def run(self) -> None:
        """Commit queued entries until cancelled; an error is raised in the `write` calls."""
        loop = asyncio.get_running_loop()
        while True:
            group = [await self._queue.get()]
            while len(group) < _BATCH_SIZE and not self._queue.empty():
                group.append(self._queue.get_nowait())
            entries = [entry for entry, _ in group]
            try:
                await loop.run_in_executor(self._thread, self._commit, entries)
            except Exception as error:  # noqa: BLE001 - raised in every waiting `write`
                for _, written in group:
                    if not written.done():
                        written.set_exception(error)
            else:
                for _, written in group:
                    if not written.done():
                        written.set_result(None)

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown()

    def _commit(self, entries: Sequence[Entry]) -> None:
        with self._store.write() as session:
            write(session, self._run_id, entries)
