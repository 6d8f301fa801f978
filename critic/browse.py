"""What the critic's page shows, as plain functions: no query and no figure is made in a page."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from critic.train import readiness
from db import records, runs
from db.labels import labels
from db.schema import AnswerKey, Image, Release, ReleaseTriple, Run, Score, Triple
from db.session import Store
from regions import references

_NEAR = 4
"""Triples shown on each side of the threshold."""


def overview(store: Store) -> dict[str, Any]:
    """Whether there are votes enough, the trained critics (newest first), and the releases."""
    with store.write() as session:
        ready = {
            "people": asdict(readiness(session)),
            "simulated": asdict(readiness(session, simulated=True)),
        }
        found = session.scalars(
            select(Run).where(Run.kind == "critic", Run.status == "done").order_by(Run.id.desc())
        )
        critics = [
            {
                "name": run.name,
                "simulated": run.simulated,
                **{key: value for key, value in run.results.items() if key != "curve"},
            }
            for run in found
        ]
        can_simulate = session.scalar(select(AnswerKey.triple_id).limit(1)) is not None
        return {
            "ready": ready,
            "critics": critics,
            "releases": releases(session),
            "can_simulate": can_simulate,
        }


def curve_of(store: Store, run_name: str) -> dict[str, Any]:
    """A critic's curve on test images, and every triple's score as shares kept by threshold."""
    with store.read() as session:
        run = runs.newest(session, "critic", run_name)
        total = session.scalar(select(func.count()).where(Score.run_id == run.id)) or 0
        counts = [
            session.scalar(select(func.count()).where(Score.run_id == run.id, Score.value >= t))
            for t in (step / 100 for step in range(101))
        ]
        return {**run.results["curve"], "kept of all": counts, "all": total}


def around(store: Store, run_name: str, threshold: float) -> list[dict[str, Any]]:
    """The triples just above and just below a threshold, best score first."""
    with store.read() as session:
        run = runs.newest(session, "critic", run_name)
        scored = (
            select(Score.value, Triple, Image)
            .join(Triple, Triple.id == Score.triple_id)
            .join(Image, Image.id == Triple.image_id)
            .where(Score.run_id == run.id)
        )
        above = session.execute(
            scored.where(Score.value >= threshold).order_by(Score.value, Triple.id).limit(_NEAR)
        ).all()
        below = session.execute(
            scored.where(Score.value < threshold)
            .order_by(Score.value.desc(), Triple.id)
            .limit(_NEAR)
        ).all()
        rows = [*reversed(above), *below]
        regions = records.regions_of(session, {image.id for _, _, image in rows})
        known = labels(
            session, simulated=run.simulated, triple_ids=[triple.id for _, triple, _ in rows]
        )
        return [
            {
                "score": score,
                "kept": score >= threshold,
                "votes": (known[triple.id].accepts, known[triple.id].votes)
                if triple.id in known
                else None,
                "question": triple.question,
                "answer": triple.answer,
                "rationale": triple.rationale,
                "image": {
                    "width": image.width,
                    "height": image.height,
                    "title": image.title,
                    "url": f"/images/{image.id}",
                },
                "regions": [asdict(r) for r in regions[image.id] if r.number in triple.shown],
                "mentioned": references.mentioned(f"{triple.question} {triple.answer}"),
            }
            for score, triple, image in rows
        ]


def releases(session: Session) -> list[dict[str, Any]]:
    """Every release, the newest first, and how many triples it kept."""
    counts = dict(
        session.execute(
            select(ReleaseTriple.release_id, func.count()).group_by(ReleaseTriple.release_id)
        ).all()
    )
    return [
        {
            "name": release.name,
            "critic": release.run.name,
            "threshold": release.threshold,
            "simulated": release.simulated,
            "kept": counts.get(release.id, 0),
        }
        for release in session.scalars(select(Release).order_by(Release.id.desc()))
    ]
