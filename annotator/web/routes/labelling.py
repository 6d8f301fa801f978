"""The annotator's fast path: what is next, votes, undo, pictures."""

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import orjson
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from annotator.accounts.sessions import CurrentUser
from annotator.crowd import queue, studies
from annotator.crowd.leases import LeaseHolder
from annotator.crowd.progress import ProgressCounter
from annotator.web import thumbnails
from annotator.web.security import current_user
from db.schema import Decision, Image, Reason
from db.store.session import Store
from regions.errors import NotFoundError

_MOST_AHEAD = 32
_VOTING = 4
"""Threads that store votes: with more, they take the processor from each other, and some wait long.

Of their own, so that nothing else that the app does can keep a vote waiting.
"""
_JSON = "application/json"
_WEEK = 7 * 24 * 3600

Id = Annotated[int, Field(ge=0, lt=2**31)]
Tab = Annotated[str, Field(max_length=40)]
Key = Annotated[str, Field(min_length=8, max_length=64)]


class JudgementIn(BaseModel):
    """One judgement; `key` is made by the page, so that a save sent twice counts once."""

    key: Key
    decision: Decision
    reasons: list[Reason] = []
    duration_ms: int | None = Field(default=None, ge=0, lt=2**31)
    guideline: Id | None = None

    def judgement(self) -> queue.VoteInput:
        """The same for the queue."""
        return queue.VoteInput(
            self.key, self.decision, tuple(self.reasons), self.duration_ms, self.guideline
        )


class VoteIn(JudgementIn):
    """A vote on a triple of a batch; with `ahead`, so many items are leased besides."""

    batch: str
    triple: Id
    tab: Tab = ""
    ahead: int = Field(default=0, ge=0, le=_MOST_AHEAD)


class UndoIn(BaseModel):
    """The vote to withdraw."""

    key: Key
    tab: Tab = ""


def routes(store: Store) -> APIRouter:
    """The routes over a store."""
    router = APIRouter(tags=["labelling"])
    triples, desk, few = queue.Queue(store), ProgressCounter(), CapacityLimiter(_VOTING)

    @router.get("/api/batches")
    def batches(request: Request) -> list[dict[str, Any]]:
        """Every batch, the newest first, and how far this person is."""
        person = current_user(request)
        with store.read() as session:
            return [asdict(b) for b in desk.all_batches(session, person.id, person.batch)]

    @router.get("/api/next")
    def following(
        request: Request,
        batch: str,
        count: Annotated[int, Query(ge=1, le=_MOST_AHEAD)] = queue.LOOKAHEAD,
        tab: Annotated[str, Query(max_length=40)] = "",
    ) -> dict[str, Any]:
        """Items to judge, leased to this person's tab, and how far the batch is."""
        person = current_user(request)
        given = triples.next_items(_who(person, batch, tab), batch, count)
        with store.read() as session:
            seen = desk.batch(session, batch, person.id)
        answer: dict[str, Any] = {"batch": asdict(seen), "items": given.items}
        answer |= {"paused": given.paused, "quota": person.quota, "finish": None}
        if person.quota is not None and not given.items and given.paused is None:
            done = triples.count_judged(LeaseHolder(person.id), batch)
            if done >= person.quota or (done and not seen.left):
                with store.write() as session:
                    found = studies.finish_study(session, person.id, batch)
                answer["finish"] = asdict(found) if found else None
        return answer

    @router.post("/api/votes")
    async def vote(request: Request, body: VoteIn) -> Response:
        """Store a vote; with `ahead`, lease so many items in the same transaction."""
        who = _who(current_user(request), body.batch, body.tab)
        decide = partial(
            triples.submit_vote, who, body.batch, body.triple, body.judgement(), ahead=body.ahead
        )
        given = await to_thread.run_sync(decide, limiter=few)
        # Written as it is: to look through it for types would take as long as the vote.
        return Response(orjson.dumps({"saved": True} | asdict(given)), media_type=_JSON)

    @router.post("/api/undo")
    def undo(request: Request, body: UndoIn) -> dict[str, Any]:
        """Withdraw a vote; its item comes back."""
        return {"item": triples.undo(LeaseHolder(current_user(request).id, body.tab), body.key)}

    @router.get("/images/{image_id}", include_in_schema=False)
    def image(image_id: Id, width: Annotated[int | None, Query(ge=1)] = None) -> FileResponse:
        """A picture at least `width` pixels wide, if it has as many."""
        with store.read() as session:
            found = session.get(Image, image_id)
        if found is None:
            raise NotFoundError("no such image", where=str(image_id))
        file = thumbnails.thumbnail(store, found, width)
        cache = f"private, max-age={_WEEK}"
        return FileResponse(file, media_type="image/jpeg", headers={"cache-control": cache})

    return router


def _who(person: CurrentUser, batch: str, tab: str) -> LeaseHolder:
    if person.batch is not None and batch != person.batch:
        raise NotFoundError(f"no batch named {batch!r}", hint="use the link of your study")
    return LeaseHolder(person.id, tab, person.quota)
