"""What the page of generation shows, as plain functions: no query is made in a page."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.images.records import image_record
from db.schema import Call, Image, Rejection, Run
from db.store import queries
from db.store.session import Store
from generation.llm.pricing import dollars
from generation.runs import journal, usage
from generation.tasks.context import briefs
from generation.tasks.protocol import Task
from regions.errors import UserError

_EXAMPLES = 3


def overview(store: Store) -> dict[str, Any]:
    """The runs, the newest first, what all of them cost, and what was kept out and why."""
    with store.read() as session:
        runs = session.scalars(
            select(Run).where(Run.kind == "generate").order_by(Run.id.desc()).limit(30)
        ).all()
        return {
            "images": session.scalar(select(func.count(Image.id))),
            "spent": dollars(journal.spent(session)),
            "runs": [_run(session, run) for run in runs],
            "rejected": _rejected(session),
        }


def picture(store: Store, task: Task, after: int) -> dict[str, Any]:
    """The first image behind `after`, or the very first: its texts and what the model is told."""
    with store.read() as session:
        query = select(Image).order_by(Image.id).limit(1)
        image = session.scalar(query.where(Image.id > after)) or session.scalar(query)
        if image is None:
            raise UserError("no images yet", hint="import some with `lskd import`")
        (brief,) = briefs(session, [image.id])
        texts = queries.verbalizations_by_image(session, [image.id])[image.id]
        return {
            "image": image_record(image),
            "regions": [asdict(region) for region in brief.regions],
            "mentioned": brief.numbers,
            "texts": [
                {
                    "region": text.region_number,
                    "kind": text.kind,
                    "text": text.text,
                    "answer": text.answer,
                    "model": f"{text.model} {text.version}".strip(),
                }
                for text in texts
            ],
            "lacks": task.lacks(brief),
            "version": task.version,
            "messages": [] if task.lacks(brief) else task.messages(brief, 0),
        }


def written(store: Store, run_name: str, image_id: int) -> dict[str, Any]:
    """What a run wrote about an image: what was kept, and what was not and why."""
    with store.read() as session:
        run = queries.by_name(session, Run, run_name)
        kept = usage.kept(session, run, image_id)
        out = session.scalars(
            select(Rejection)
            .join(Call, Call.id == Rejection.call_id)
            .where(Call.run_id == run.id, Call.image_id == image_id)
        ).all()
        return {
            "run": run.name,
            "results": run.results,
            "kept": kept,
            "rejected": [{"reason": r.reason, "detail": r.detail, "text": r.text} for r in out],
        }


def _run(session: Session, run: Run) -> dict[str, Any]:
    told = run.results
    if run.status == "running" or "replies" not in told:
        told = told | usage.results(session, run.id, run.settings["task"])
    return {
        "name": run.name,
        "status": run.status,
        "stopped": told.get("stopped") or told.get("error", ""),
        "task": run.settings["task"],
        "model": run.settings["model"],
        "prompt": run.settings["prompt"],
        "replies": told["replies"],
        "failed": told["failed calls"],
        "kept": next((n for name, n in told.items() if name.startswith("kept ")), 0),
        "rejected": sum(told["rejected"].values()),
        "cost": told["cost"],
    }


def _rejected(session: Session) -> list[dict[str, Any]]:
    counts = session.execute(
        select(Rejection.reason, func.count())
        .group_by(Rejection.reason)
        .order_by(func.count().desc())
    ).all()
    return [
        {
            "reason": reason,
            "count": count,
            "examples": [
                {"detail": r.detail, "text": r.text}
                for r in session.scalars(
                    select(Rejection)
                    .where(Rejection.reason == reason)
                    .order_by(Rejection.id.desc())
                    .limit(_EXAMPLES)
                )
            ],
        }
        for reason, count in counts
    ]
