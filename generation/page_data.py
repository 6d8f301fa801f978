"""Data of the web app's page for generation, as plain functions that read the store."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.images.records import ImageRecord, image_record
from db.schema import Call, Image, Rejection, Run
from db.store import queries
from db.store.results import from_json
from db.store.session import Store
from generation.llm.pricing import to_dollars
from generation.prompts import Message
from generation.runs import journal
from generation.runs.results import Usage
from generation.runs.usage import count_usage, outputs
from generation.tasks.context import load_contexts
from generation.tasks.protocol import Task
from regions.errors import UserError
from regions.geometry import Region

_N_RUNS = 30
_N_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A generation run in the table of runs."""

    name: str
    status: str
    stopped: str
    """A `StopReason`, an error, or empty."""
    task: str
    model: str
    prompt: str
    replies: int
    failed_calls: int
    kept: int
    rejected: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class RejectedText:
    """Something that validation rejected."""

    reason: str
    detail: str
    text: str


@dataclass(frozen=True, slots=True)
class RejectionReason:
    """How often validation rejected something for a reason, with its latest examples."""

    reason: str
    count: int
    examples: Sequence[RejectedText]


@dataclass(frozen=True, slots=True)
class Overview:
    """The newest runs, what all runs have cost, and what was rejected."""

    images: int
    spent_usd: float
    runs: Sequence[RunSummary]
    rejected: Sequence[RejectionReason]


@dataclass(frozen=True, slots=True)
class ImageText:
    """A stored text about an image."""

    region: int | None
    kind: str
    text: str
    answer: str
    model: str


@dataclass(frozen=True, slots=True)
class ImagePreview:
    """An image with its regions and texts, and the prompt that a task makes of them."""

    image: ImageRecord
    regions: Sequence[Region]
    mentioned: Sequence[int]
    """Numbers of the regions that the canvas highlights."""
    texts: Sequence[ImageText]
    skip_reason: str | None
    version: str
    messages: Sequence[Message]
    """Empty if the task skips the image."""


@dataclass(frozen=True, slots=True)
class RunOutput:
    """What a run wrote about an image: the texts of each row, and what was rejected."""

    run: str
    kept: Sequence[Sequence[str]]
    rejected: Sequence[RejectedText]


def overview(store: Store) -> Overview:
    """Return the newest runs, their cost, and rejections by reason."""
    with store.read() as session:
        runs = session.scalars(
            select(Run).where(Run.kind == "generate").order_by(Run.id.desc()).limit(_N_RUNS)
        ).all()
        return Overview(
            session.scalar(select(func.count(Image.id))) or 0,
            to_dollars(journal.total_cost(session)),
            [_run_summary(session, run) for run in runs],
            _rejection_reasons(session),
        )


def image_preview(store: Store, task: Task, after: int) -> ImagePreview:
    """Return a preview of the first image with an id above `after`, or of the very first one."""
    with store.read() as session:
        query = select(Image).order_by(Image.id).limit(1)
        image = session.scalar(query.where(Image.id > after)) or session.scalar(query)
        if image is None:
            raise UserError("the store has no images", hint="import some with lskd import")
        (context,) = load_contexts(session, [image.id])
        texts = queries.verbalizations_by_image(session, [image.id])[image.id]
        skip_reason = task.skip_reason(context)
        return ImagePreview(
            image=image_record(image),
            regions=context.regions,
            mentioned=context.region_numbers,
            texts=[
                ImageText(
                    text.region_number,
                    text.kind,
                    text.text,
                    text.answer,
                    f"{text.model} {text.version}".strip(),
                )
                for text in texts
            ],
            skip_reason=skip_reason,
            version=task.version,
            messages=[] if skip_reason else task.messages(context, 0),
        )


def run_output(store: Store, run_name: str, image_id: int) -> RunOutput:
    """Return what a run wrote about an image."""
    with store.read() as session:
        run = queries.by_name(session, Run, run_name)
        rejections = session.scalars(
            select(Rejection)
            .join(Call, Call.id == Rejection.call_id)
            .where(Call.run_id == run.id, Call.image_id == image_id)
        ).all()
        return RunOutput(
            run.name, outputs(session, run, image_id), [_rejected_text(r) for r in rejections]
        )


def _run_summary(session: Session, run: Run) -> RunSummary:
    task = run.settings["task"]
    if run.status == "running" or "replies" not in run.results:
        usage = count_usage(session, run.id, task)
    else:
        usage = from_json(Usage, run.results)
    return RunSummary(
        name=run.name,
        status=run.status,
        stopped=run.results.get("stopped") or run.results.get("error", ""),
        task=task,
        model=run.settings["model"],
        prompt=run.settings["prompt"],
        replies=usage.replies,
        failed_calls=usage.failed_calls,
        kept=usage.kept,
        rejected=sum(usage.rejected.values()),
        cost_usd=usage.cost_usd,
    )


def _rejection_reasons(session: Session) -> list[RejectionReason]:
    counts = session.execute(
        select(Rejection.reason, func.count())
        .group_by(Rejection.reason)
        .order_by(func.count().desc())
    ).all()
    return [
        RejectionReason(reason, count, _latest_rejections(session, reason))
        for reason, count in counts
    ]


def _latest_rejections(session: Session, reason: str) -> list[RejectedText]:
    query = select(Rejection).where(Rejection.reason == reason).order_by(Rejection.id.desc())
    return [_rejected_text(rejection) for rejection in session.scalars(query.limit(_N_EXAMPLES))]


def _rejected_text(rejection: Rejection) -> RejectedText:
    return RejectedText(rejection.reason, rejection.detail, rejection.text)
