"""Routes for researchers about batches: create, open, extend, send votes back."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter
from pydantic import AliasChoices, BaseModel, Field

from annotator.crowd import batch_rows
from annotator.crowd.batch_rows import BatchRow
from annotator.labelling import returns
from annotator.labelling.returns import ReturnResult, VoteSelection
from annotator.web.dependencies import StoreDep, UserDep
from annotator.web.routes.schemas import Done, Id
from db.labelling import batches, changes
from db.labelling.batches import QualityPolicy, Selection
from db.labelling.changes import Extension
from db.schema import Decision, Order, PriceUnit

router = APIRouter(prefix="/api/research/batches", tags=["research"])

Share = Annotated[float, Field(ge=0, le=1)]


class SelectionIn(BaseModel):
    """Which triples; see `db.labelling.batches.Selection`."""

    source: str | None = None
    kind: str | None = None
    run: str | None = None
    score_from: Share | None = None
    score_to: Share | None = None
    votes: batches.VoteState = "none"
    size: int | None = Field(default=None, ge=1, lt=2**31)
    stratify: batches.Strata | None = None
    seed: int = Field(default=0, ge=0, lt=2**31)

    def selection(self) -> Selection:
        """The selection of its fields."""
        return Selection(**{name: getattr(self, name) for name in Selection.__slots__})


class BatchIn(SelectionIn):
    """Which triples, how many votes each, in which order, and how quality is controlled."""

    name: str = Field(min_length=1, max_length=400)
    votes_each: int = Field(default=3, ge=1, le=1000)
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


class BatchChangeIn(BaseModel):
    """What to change of a batch: whether annotators get its items, and what they are paid."""

    open: bool | None = None
    price: float | None = Field(default=None, ge=0, lt=1e9)
    price_unit: PriceUnit = "vote"


class VotesEachIn(BaseModel):
    """How many votes each triple requires; None: as many as before."""

    votes_each: int | None = Field(default=None, ge=1, le=1000)


class MoreVotesIn(BaseModel):
    """How many votes each triple requires."""

    votes_each: int = Field(ge=1, le=1000)


class ReturnIn(BaseModel):
    """Whose votes are sent back, the note that they see, and which votes: all by default."""

    person: str
    note: str = Field(min_length=1, max_length=returns.MAX_NOTE_LENGTH)
    triples: list[Id] = []
    decision: Decision | None = None
    too_fast: bool = False
    days: int = Field(default=returns.HOLD_DAYS, ge=1, le=365)


@dataclass(frozen=True, slots=True)
class BatchOut:
    """A new batch and the number of its triples."""

    batch: str
    triples: int


@router.post("")
def create_batch(store: StoreDep, body: BatchIn) -> BatchOut:
    """Select triples and create a batch of them."""
    policy = QualityPolicy(**{f: getattr(body, f) for f in QualityPolicy.__slots__})
    count = batches.draw_batch(
        store,
        body.name,
        votes_required=body.votes_each,
        selection=body.selection(),
        seed=body.seed,
        ordering=body.ordering,
        random_share=body.random_share,
        policy=policy,
    )
    return BatchOut(body.name, count)


@router.get("")
def list_batches(store: StoreDep) -> list[BatchRow]:
    """Every batch, newest first, with its settings and votes."""
    with store.read() as session:
        return batch_rows.list_batches(session)


@router.patch("/{name}")
def change_batch(store: StoreDep, name: str, body: BatchChangeIn) -> Done:
    """Open a batch to annotators, close it, or set its price: only what is in the body."""
    with store.write() as session:
        if body.open is not None:
            batch_rows.set_batch_open(session, name, is_open=body.open)
        if "price" in body.model_fields_set:
            changes.set_price(session, name, body.price, body.price_unit)
    return Done()


@router.post("/{name}/reopen")
def reopen_batch(store: StoreDep, name: str, body: VotesEachIn) -> Extension:
    """Open a closed batch, or a complete one with more votes for each triple."""
    with store.write() as session:
        return changes.reopen(session, name, body.votes_each)


@router.post("/{name}/votes")
def require_votes(store: StoreDep, name: str, body: MoreVotesIn) -> Extension:
    """Require more votes for each triple; adjudicated triples get no more."""
    with store.write() as session:
        return changes.require_votes(session, name, body.votes_each)


@router.post("/{name}/triples")
def add_triples(store: StoreDep, name: str, body: SelectionIn) -> Extension:
    """Select more triples and add them at the end of the batch."""
    with store.write() as session:
        return changes.add_triples(session, name, body.selection(), seed=body.seed)


@router.post("/{name}/returns")
def send_back(store: StoreDep, user: UserDep, name: str, body: ReturnIn) -> ReturnResult:
    """Withdraw an annotator's votes and ask them again, with a note."""
    return returns.send_back(
        store,
        name,
        body.person,
        body.note,
        selection=VoteSelection(frozenset(body.triples), body.decision, too_fast=body.too_fast),
        returned_by=user.id,
        days=body.days,
    )
