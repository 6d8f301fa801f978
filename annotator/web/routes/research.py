"""Routes for researchers: statistics, adjudication, guidelines, gold, pauses."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AliasChoices, BaseModel, Field
from starlette.responses import Response

from annotator.crowd import batch_rows, gold, guidelines
from annotator.crowd.batch_rows import BatchRow
from annotator.crowd.gold import PauseRow
from annotator.crowd.guidelines import Guidelines
from annotator.labels import adjudication
from annotator.labels.adjudication import PendingTriples
from annotator.statistics import project as statistics
from annotator.statistics import project_tables
from annotator.statistics.project import ProjectStatistics
from annotator.statistics.project_tables import Table
from annotator.web.dependencies import StoreDep, UserDep
from annotator.web.routes.schemas import Done, Id
from db.schema import Decision, Reason

router = APIRouter(prefix="/api/research", tags=["research"])


class AdjudicationIn(BaseModel):
    """A researcher's decision about a triple."""

    triple: Id
    decision: Decision
    reasons: list[Reason] = []
    note: str = ""


class GuidelinesIn(BaseModel):
    """The next version of the guidelines, in Markdown."""

    text: str


class GoldIn(BaseModel):
    """The correct decision of a triple, and why. Training items are for qualification rounds."""

    triple: Id
    decision: Decision
    reasons: list[Reason] = []
    note: str = ""
    is_training_item: bool = Field(
        default=False, validation_alias=AliasChoices("is_training_item", "teaches")
    )


class PauseIn(BaseModel):
    """Pause a person in a batch; they see the reason."""

    person: Id
    batch: str
    reason: str = Field(min_length=1, max_length=2000)


@dataclass(frozen=True, slots=True)
class ProjectOut(ProjectStatistics):
    """Project statistics with all batches and all current pauses."""

    batches: list[BatchRow]
    pauses: list[PauseRow]


@dataclass(frozen=True, slots=True)
class VersionOut:
    """The version of the project's statistics."""

    version: str


@dataclass(frozen=True, slots=True)
class AdjudicationOut:
    """The names of those who voted on the triple, by vote id."""

    names: dict[int, str]


@router.get("/project")
def get_project(
    store: StoreDep, batch: str | None = None, *, simulated: bool = False
) -> ProjectOut:
    """Progress, pace, agreement and annotators of one batch or of all votes."""
    with store.read() as session:
        figures = statistics.project_statistics(session, batch, simulated=simulated)
        return ProjectOut(
            **{name: getattr(figures, name) for name in ProjectStatistics.__slots__},
            batches=batch_rows.list_batches(session),
            pauses=gold.list_pauses(session),
        )


@router.get("/project/version")
def get_project_version(store: StoreDep) -> VersionOut:
    """A text that changes when the statistics do; cheap, unlike these."""
    with store.read() as session:
        return VersionOut(project_tables.version(session))


@router.get("/project/{table}.csv")
def get_project_table(
    store: StoreDep, table: Table, batch: str | None = None, *, simulated: bool = False
) -> Response:
    """A table of the project page as csv."""
    with store.read() as session:
        content = project_tables.table_as_csv(session, table, batch, simulated=simulated)
    # The byte order mark tells spreadsheets that it is UTF-8.
    disposition = f'attachment; filename="{table}.csv"'
    headers = {"content-disposition": disposition}
    return Response(content.encode("utf-8-sig"), media_type="text/csv", headers=headers)


@router.get("/adjudication")
def list_pending(
    store: StoreDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    *,
    simulated: bool = False,
) -> PendingTriples:
    """Triples with disagreement or open flags, without the names of those who voted."""
    with store.read() as session:
        return adjudication.list_pending(session, simulated=simulated, limit=limit)


@router.post("/adjudication")
def adjudicate(store: StoreDep, user: UserDep, body: AdjudicationIn) -> AdjudicationOut:
    """Decide a triple; returns the names of those who voted."""
    with store.write() as session:
        names = adjudication.adjudicate(
            session,
            body.triple,
            user.id,
            decision=body.decision,
            reasons=body.reasons,
            note=body.note,
        )
    return AdjudicationOut(names)


@router.delete("/adjudication/{triple}")
def withdraw_adjudication(store: StoreDep, triple: Id) -> Done:
    """Withdraw the decision about a triple."""
    with store.write() as session:
        adjudication.withdraw_adjudication(session, triple)
    return Done()


@router.put("/guidelines")
def save_guidelines(store: StoreDep, user: UserDep, body: GuidelinesIn) -> Guidelines:
    """Save a new version of the guidelines."""
    with store.write() as session:
        guidelines.save_guidelines(session, body.text, user.id)
        return guidelines.current_guidelines(session)


@router.put("/gold")
def set_gold(store: StoreDep, user: UserDep, body: GoldIn) -> Done:
    """Set the correct decision of a triple; open batches that use gold get it at once."""
    with store.write() as session:
        gold.set_gold(
            session,
            body.triple,
            body.decision,
            reasons=body.reasons,
            note=body.note,
            is_training_item=body.is_training_item,
            author=user.id,
        )
    return Done()


@router.post("/pauses")
def pause_person(store: StoreDep, body: PauseIn) -> Done:
    """Pause a person in a batch."""
    with store.write() as session:
        gold.pause_in_batch(session, body.person, body.batch, body.reason)
    return Done()


@router.post("/pauses/{pause_id}/lift")
def lift_pause(store: StoreDep, user: UserDep, pause_id: Id) -> Done:
    """Lift a pause."""
    with store.write() as session:
        gold.lift_pause(session, pause_id, user.id)
    return Done()
