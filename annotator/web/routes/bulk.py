"""What scripts do: batches, imports, votes and labels page by page, and tokens to do it with."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import AliasChoices, BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from annotator.accounts import accounts
from annotator.labels import statistics
from annotator.web import bulk_api
from annotator.web.routes.labelling import Id
from annotator.web.security import current_user
from db.labelling import batches
from db.schema import Order
from db.store.session import Store

Share = Annotated[float, Field(ge=0, le=1)]
Page = Annotated[int, Query(ge=1, le=10_000)]
After = Annotated[int, Query(ge=0, lt=2**31)]


class BatchIn(BaseModel):
    """Which triples, how many votes each, in which order, and how annotators are watched."""

    name: str = Field(min_length=1, max_length=400)
    votes_each: int = Field(default=3, ge=1, le=1000)
    source: str | None = None
    kind: str | None = None
    run: str | None = None
    score_from: Share | None = None
    score_to: Share | None = None
    votes: batches.VoteState = "none"
    size: int | None = Field(default=None, ge=1, lt=2**31)
    stratify: batches.Strata | None = None
    ordering: Order = "random"
    random_share: Share = 0.2
    gold_rate: Share = 0.0
    qualification_items: int = Field(
        default=0,
        ge=0,
        le=1000,
        validation_alias=AliasChoices("qualification_items", "qualify"),
    )
    min_gold_accuracy: Share = Field(
        default=0.0, validation_alias=AliasChoices("min_gold_accuracy", "bar")
    )
    fast_ms: int = Field(default=1000, ge=0, lt=2**31)
    seed: int = Field(default=0, ge=0, lt=2**31)


class OpenIn(BaseModel):
    """Whether a batch is given out."""

    open: bool


class TokenIn(BaseModel):
    """What the token is for."""

    name: str = Field(min_length=1, max_length=400)


def routes(store: Store) -> APIRouter:
    """The routes over a store."""
    router = APIRouter(prefix="/api/research", tags=["research"])

    @router.post("/batches")
    def make(body: BatchIn) -> dict[str, Any]:
        """Choose triples and make a batch of them."""
        wish = body.model_dump()
        selection = batches.Selection(**{f: wish[f] for f in batches.Selection.__slots__})
        policy = batches.QualityPolicy(**{f: wish[f] for f in batches.QualityPolicy.__slots__})
        count = batches.draw_batch(
            store,
            body.name,
            votes_required=body.votes_each,
            selection=selection,
            seed=body.seed,
            ordering=body.ordering,
            random_share=body.random_share,
            policy=policy,
        )
        return {"batch": body.name, "triples": count}

    @router.patch("/batches/{name}")
    def set_open(name: str, body: OpenIn) -> dict[str, bool]:
        """Give a batch out, or no longer."""
        with store.write() as session:
            statistics.set_batch_open(session, name, is_open=body.open)
        return {"done": True}

    @router.post("/imports")
    async def bring_in(
        request: Request,
        source: str,
        format_: Annotated[Literal["lskd", "jsonl"], Query(alias="format")] = "jsonl",
        accept_means: Literal["0", "1"] | None = None,
    ) -> dict[str, Any]:
        """Import the request's body, a file of rows about the images of a source that is there."""
        with TemporaryDirectory(dir=store.folder) as folder:
            file = Path(folder, "sent.jsonl")
            await bulk_api.save_upload(request.stream(), file)
            return await run_in_threadpool(
                bulk_api.import_rows, store, format_, file, source, accept_means
            )

    @router.get("/votes")
    def votes(batch: str | None = None, after: After = 0, limit: Page = 1000) -> dict[str, Any]:
        """Votes in the order they came, a page at a time; `next` is `after` of the next page."""
        with store.read() as session:
            return bulk_api.vote_page(session, batch, after, limit)

    @router.get("/labels")
    def labelled(
        after: After = 0, limit: Page = 1000, *, simulated: bool = False
    ) -> dict[str, Any]:
        """What votes add up to, by triple, a page at a time."""
        with store.read() as session:
            return bulk_api.label_page(session, after, limit, simulated=simulated)

    @router.get("/tokens")
    def mine(request: Request) -> list[dict[str, Any]]:
        """One's own tokens, without their secrets."""
        with store.read() as session:
            return accounts.list_tokens(session, current_user(request).id)

    @router.post("/tokens")
    def make_token(request: Request, body: TokenIn) -> dict[str, str]:
        """A token; told once."""
        with store.write() as session:
            return {"token": accounts.create_token(session, current_user(request).id, body.name)}

    @router.delete("/tokens/{token_id}")
    def revoke(request: Request, token_id: Id) -> dict[str, bool]:
        """Make one's own token worthless."""
        with store.write() as session:
            accounts.revoke_token(session, current_user(request).id, token_id)
        return {"done": True}

    return router
