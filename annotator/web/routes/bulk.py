"""Routes for scripts: batches, imports, votes and labels page by page, API tokens."""

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import AliasChoices, BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from annotator.accounts import accounts
from annotator.accounts.accounts import TokenRow
from annotator.labels import statistics
from annotator.web import bulk_api
from annotator.web.bulk_api import ImportFormat, LabelPage, VotePage
from annotator.web.dependencies import StoreDep, UserDep
from annotator.web.routes.schemas import Done, Id
from db.labelling import batches
from db.schema import Order

router = APIRouter(prefix="/api/research", tags=["research"])

Share = Annotated[float, Field(ge=0, le=1)]
PageSize = Annotated[int, Query(ge=1, le=10_000)]
After = Annotated[int, Query(ge=0, lt=2**31)]


class BatchIn(BaseModel):
    """Which triples, how many votes each, in which order, and how quality is controlled."""

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


class BatchOpenIn(BaseModel):
    """Whether annotators get items of the batch."""

    open: bool


class TokenIn(BaseModel):
    """What the token is for."""

    name: str = Field(min_length=1, max_length=400)


@dataclass(frozen=True, slots=True)
class BatchOut:
    """A new batch and the number of its triples."""

    batch: str
    triples: int


class ImportOut(BaseModel):
    """The report of an import; see `db.transfer.importing.ImportReport`.

    The last two fields are `new.triples` and `rejected_rows` under their former names.
    """

    run: str
    rows: int
    new: dict[str, int]
    rejected_rows: int
    rejection_reasons: dict[str, int]
    notes: dict[str, int]
    former_new_triples: int = Field(serialization_alias="new triples")
    former_rejected_rows: int = Field(serialization_alias="rejected rows")


@dataclass(frozen=True, slots=True)
class TokenOut:
    """A new API token; it is not shown again."""

    token: str


@router.post("/batches")
def create_batch(store: StoreDep, body: BatchIn) -> BatchOut:
    """Select triples and create a batch of them."""
    fields = body.model_dump()
    selection = batches.Selection(**{f: fields[f] for f in batches.Selection.__slots__})
    policy = batches.QualityPolicy(**{f: fields[f] for f in batches.QualityPolicy.__slots__})
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
    return BatchOut(body.name, count)


@router.patch("/batches/{name}")
def set_batch_open(store: StoreDep, name: str, body: BatchOpenIn) -> Done:
    """Open a batch to annotators, or close it."""
    with store.write() as session:
        statistics.set_batch_open(session, name, is_open=body.open)
    return Done()


@router.post("/imports")
async def import_rows(
    request: Request,
    store: StoreDep,
    source: str = "",
    format_: Annotated[ImportFormat, Query(alias="format")] = "jsonl",
    accept_means: Literal["0", "1"] | None = None,
) -> ImportOut:
    """Import the request's body: rows about the images of an existing source, or votes."""
    with TemporaryDirectory(dir=store.folder) as folder:
        file = Path(folder, "upload.jsonl")
        await bulk_api.save_upload(request.stream(), file)
        report = await run_in_threadpool(
            bulk_api.import_rows, store, format_, file, source, accept_means
        )
    return ImportOut(
        **asdict(report),
        former_new_triples=report.new.get("triples", 0),
        former_rejected_rows=report.rejected_rows,
    )


@router.get("/votes")
def list_votes(
    store: StoreDep, batch: str | None = None, after: After = 0, limit: PageSize = 1000
) -> VotePage:
    """A page of votes, oldest first; `next` is the `after` of the next page."""
    with store.read() as session:
        return bulk_api.vote_page(session, batch, after, limit)


@router.get("/labels")
def list_labels(
    store: StoreDep, after: After = 0, limit: PageSize = 1000, *, simulated: bool = False
) -> LabelPage:
    """A page of majority labels, by triple; `next` is the `after` of the next page."""
    with store.read() as session:
        return bulk_api.label_page(session, after, limit, simulated=simulated)


@router.get("/tokens")
def list_tokens(store: StoreDep, user: UserDep) -> list[TokenRow]:
    """The person's own API tokens, without their secrets."""
    with store.read() as session:
        return accounts.list_tokens(session, user.id)


@router.post("/tokens")
def create_token(store: StoreDep, user: UserDep, body: TokenIn) -> TokenOut:
    """Create an API token, which acts as the person."""
    with store.write() as session:
        return TokenOut(accounts.create_token(session, user.id, body.name))


@router.delete("/tokens/{token_id}")
def revoke_token(store: StoreDep, user: UserDep, token_id: Id) -> Done:
    """Revoke one of the person's own API tokens."""
    with store.write() as session:
        accounts.revoke_token(session, user.id, token_id)
    return Done()
