"""The annotator's fast path: next items, votes, undo, images."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import orjson
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from starlette.responses import Response

from annotator.accounts.sessions import CurrentUser
from annotator.labelling import queue
from annotator.labelling.leases import LeaseHolder
from annotator.labelling.payloads import ItemPayload
from annotator.labelling.progress import BatchProgress
from annotator.labelling.visibility import visible_image
from annotator.studies import joining
from annotator.studies.joining import Completion
from annotator.web import thumbnails
from annotator.web.dependencies import (
    ProgressDep,
    QueueDep,
    StoreDep,
    UserDep,
    lease_holder,
)
from annotator.web.routes.schemas import DecisionIn, Id, Key
from regions.errors import NotFoundError

_MAX_LOOKAHEAD = 32
# Votes have threads of their own, so that no other request can delay them. With more threads they
# compete for the processor, and some wait long.
_VOTE_THREADS = CapacityLimiter(4)
_JSON = "application/json"
_IMAGE_CACHE = f"private, max-age={7 * 24 * 3600}"

Tab = Annotated[str, Field(max_length=40)]

router = APIRouter(tags=["labelling"])


class VoteIn(DecisionIn):
    """A vote on a triple of a batch. The tab then gets items until it has `ahead` of them."""

    batch: str
    triple: Id
    tab: Tab = ""
    ahead: int = Field(default=0, ge=0, le=_MAX_LOOKAHEAD)


class UndoIn(BaseModel):
    """The key of the vote to withdraw."""

    key: Key
    tab: Tab = ""


@dataclass(frozen=True, slots=True)
class NextOut:
    """Items to judge and the progress of their batch.

    `paused` is the reason if the person is paused. Crowd workers have a `quota`, and `finish` with
    their completion code once they have reached it.
    """

    batch: BatchProgress
    items: list[ItemPayload]
    paused: str | None
    quota: int | None
    finish: Completion | None


@dataclass(frozen=True, slots=True)
class UndoOut:
    """The item of the withdrawn vote, which is leased again."""

    item: ItemPayload


@router.get("/api/batches")
def list_batches(store: StoreDep, user: UserDep, counter: ProgressDep) -> list[BatchProgress]:
    """Every batch, newest first, with the person's progress."""
    with store.read() as session:
        return counter.all_batches(session, user.id, user.batch)


@router.get("/api/next")
def next_items(
    store: StoreDep,
    user: UserDep,
    labelling: QueueDep,
    counter: ProgressDep,
    *,
    batch: str,
    count: Annotated[int, Query(ge=1, le=_MAX_LOOKAHEAD)] = queue.LOOKAHEAD,
    tab: Annotated[str, Query(max_length=40)] = "",
) -> NextOut:
    """Lease up to `count` items of a batch to the person's tab."""
    result = labelling.next_items(_holder(user, batch, tab), batch, count)
    with store.read() as session:
        progress = counter.batch(session, batch, user.id)
    finish = None
    if (
        user.study is not None
        and user.quota is not None
        and not result.items
        and result.paused is None
    ):
        n_judged = labelling.count_judged(lease_holder(user), batch)
        if n_judged >= user.quota or (n_judged and not progress.left):
            with store.write() as session:
                finish = joining.finish_study(session, user.study, user.id)
    return NextOut(progress, result.items, result.paused, user.quota, finish)


@router.post("/api/votes")
async def submit_vote(user: UserDep, labelling: QueueDep, body: VoteIn) -> Response:
    """Store a vote and lease more items, in one transaction."""
    submit = partial(
        labelling.submit_vote,
        _holder(user, body.batch, body.tab),
        body.batch,
        body.triple,
        body.vote(),
        ahead=body.ahead,
    )
    result = await to_thread.run_sync(submit, limiter=_VOTE_THREADS)
    # Serialised directly: validating the response would take as long as the vote.
    answer = {
        "saved": True,
        "items": result.items,
        "paused": result.paused,
        "feedback": result.feedback,
    }
    return Response(orjson.dumps(answer), media_type=_JSON)


@router.post("/api/undo")
def undo_vote(user: UserDep, labelling: QueueDep, body: UndoIn) -> UndoOut:
    """Withdraw a vote and lease its item again."""
    return UndoOut(labelling.undo(lease_holder(user, body.tab), body.key))


@router.get("/images/{image_id}", include_in_schema=False)
@router.get("/images/{image_id}/upright", include_in_schema=False)
def get_image(
    store: StoreDep, user: UserDep, image_id: Id, width: Annotated[int | None, Query(ge=1)] = None
) -> FileResponse:
    """An image that the person may see, as JPEG, at least `width` pixels wide if it is that large.

    The browser keeps it, and nothing between it and the app does.
    """
    with store.read() as session:
        image = visible_image(session, user, image_id)
    file = thumbnails.thumbnail(store, image, width)
    return FileResponse(file, media_type="image/jpeg", headers={"cache-control": _IMAGE_CACHE})


def _holder(user: CurrentUser, batch: str, tab: str) -> LeaseHolder:
    """The lease holder of a request; NotFoundError if a crowd worker asks for another batch."""
    if user.batch is not None and batch != user.batch:
        raise NotFoundError(f"no batch named {batch!r}", hint="use the link of your study")
    return lease_holder(user, tab)
