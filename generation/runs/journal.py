"""Every call to a model as a row: looked up before it is sent, written before it is read."""

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from db.schema import Call
from db.store.clock import now
from db.store.session import Store
from db.store.upsert import dialect_insert
from generation.llm.client import Failure, Reply, Request
from generation.llm.pricing import Price

_TOGETHER = 256
"""Replies written in one transaction at most."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is written of a call."""

    request: Request
    outcome: Reply | Failure
    prompt_tokens: int
    completion_tokens: int
    cost: int


def entry(request: Request, outcome: Reply | Failure, counted: int, price: Price | None) -> Entry:
    """An entry with its cost; where the server does not count, `counted` and a guess stand in."""
    if isinstance(outcome, Failure):
        return Entry(request, outcome, 0, 0, 0)
    prompt = outcome.prompt_tokens if outcome.prompt_tokens is not None else counted
    completion = outcome.completion_tokens
    if completion is None:
        completion = len(outcome.text) // 4 + 1
    return Entry(request, outcome, prompt, completion, price.of(prompt, completion) if price else 0)


def answered(session: Session, fingerprints: Sequence[str]) -> dict[str, int]:
    """Which of these requests have a reply, and the tokens of their prompts."""
    query = select(Call.fingerprint, Call.prompt_tokens).where(
        Call.fingerprint.in_(fingerprints), Call.status == "answered"
    )
    return dict(session.execute(query).all())


def submitted(session: Session, fingerprints: Sequence[str]) -> set[str]:
    """Which of these requests have been submitted, and wait for their replies."""
    query = select(Call.fingerprint).where(
        Call.fingerprint.in_(fingerprints), Call.status == "submitted"
    )
    return set(session.scalars(query))


def finished_images(session: Session, run_id: int, samples: int) -> set[int]:
    """The images of which a run has all replies."""
    query = (
        select(Call.image_id)
        .where(Call.run_id == run_id, Call.status == "answered")
        .group_by(Call.image_id)
        .having(func.count() >= samples)
    )
    return set(session.scalars(query))


def spent(session: Session) -> int:
    """What all calls have cost, in millionths of a dollar; of submitted ones, what they may."""
    return int(session.scalar(select(func.sum(Call.cost))) or 0)


def unread(session: Session, run_id: int, count: int) -> Sequence[Call]:
    """Replies of a run from which nothing has been read yet."""
    query = select(Call).where(
        Call.run_id == run_id, Call.status == "answered", Call.read.is_(None)
    )
    return session.scalars(query.order_by(Call.id).limit(count)).all()


def forget_reading(session: Session, run_id: int) -> int:
    """Let the replies of a run be read anew; how many there are."""
    done = session.execute(
        update(Call).where(Call.run_id == run_id, Call.status == "answered").values(read=None)
    )
    return int(done.rowcount)  # type: ignore[attr-defined]


def write(session: Session, run_id: int, entries: Iterable[Entry]) -> None:
    """Write calls; a reply takes the place of an earlier failure, and never that of a reply."""
    upsert(session, [_row(run_id, e) for e in entries])


def upsert(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Rows of the journal; those of requests that have a reply stay as they are."""
    if not rows:
        return
    statement = dialect_insert(session, Call)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["fingerprint"],
            set_={
                name: getattr(statement.excluded, name) for name in rows[0] if name != "fingerprint"
            },
            where=Call.status != "answered",
        ),
        rows,
    )


def waiting_row(run_id: int, request: Request, most: int) -> dict[str, Any]:
    """A row for a request that is submitted, with what it may cost at most."""
    nothing = Entry(request, Failure("", 0), 0, 0, most)
    return _row(run_id, nothing) | {"status": "submitted"}


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
    # PostgreSQL keeps no NUL in a text.
    text = outcome.text.replace("\0", "")
    return row | {
        "reply": text,
        "finish": outcome.finish,
        "milliseconds": outcome.milliseconds,
    }


class Journal:
    """Writes what calls bring in, many in one transaction, from an event loop."""

    def __init__(self, store: Store, run_id: int) -> None:
        self._store, self._run_id = store, run_id
        self._waiting: asyncio.Queue[tuple[Entry, asyncio.Future[None]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1)

    async def keep(self, entry: Entry) -> None:
        """Return once the entry is on disk."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((entry, kept))
        await kept

    async def run(self) -> None:
        """Write what is kept, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            some = [await self._waiting.get()]
            while len(some) < _TOGETHER and not self._waiting.empty():
                some.append(self._waiting.get_nowait())
            entries = [e for e, _ in some]
            try:
                await loop.run_in_executor(self._thread, self._write, entries)
            except Exception as error:  # noqa: BLE001 - whoever waits hears of it
                for _, kept in some:
                    if not kept.done():
                        kept.set_exception(error)
            else:
                for _, kept in some:
                    if not kept.done():
                        kept.set_result(None)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    def _write(self, entries: Sequence[Entry]) -> None:
        with self._store.write() as session:
            write(session, self._run_id, entries)
