"""Routes for scripts: imports, votes and labels page by page, API tokens."""

from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from annotator.accounts import accounts
from annotator.accounts.accounts import TokenRow
from annotator.web import bulk_api
from annotator.web.bulk_api import ImportFormat, LabelPage, VotePage
from annotator.web.dependencies import StoreDep, UserDep
from annotator.web.middleware.bodies import body_limit
from annotator.web.routes.schemas import Done, Id
from db.store.files import temporary_folder
from db.store.recovery import UPLOAD_PREFIX

router = APIRouter(prefix="/api/research", tags=["research"])

PageSize = Annotated[int, Query(ge=1, le=10_000)]
After = Annotated[int, Query(ge=0, lt=2**31)]


class TokenIn(BaseModel):
    """What the token is for."""

    name: str = Field(min_length=1, max_length=400)


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


@router.post("/imports")
async def import_rows(
    request: Request,
    store: StoreDep,
    source: str = "",
    format_: Annotated[ImportFormat, Query(alias="format")] = "jsonl",
    accept_means: Literal["0", "1"] | None = None,
) -> ImportOut:
    """Import the request's body: rows about the images of an existing source, votes, or gold."""
    with temporary_folder(store.folder, UPLOAD_PREFIX) as folder:
        file = folder / "upload.jsonl"
        await bulk_api.save_upload(request.stream(), file, body_limit(request.url.path))
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
    store: StoreDep,
    after: After = 0,
    limit: PageSize = 1000,
    run: str | None = None,
    *,
    simulated: bool = False,
) -> LabelPage:
    """A page of labels, by triple; `next` is the `after` of the next page.

    Labels are those of a label run, or majority votes without one.
    """
    with store.read() as session:
        return bulk_api.label_page(session, after, limit, simulated=simulated, run=run)


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
