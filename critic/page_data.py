"""What the critic's page shows, as plain functions: no query and no figure is made in a page."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from critic.settings import checked
from critic.thresholds import vote_planning
from critic.thresholds.comparison import compare
from critic.thresholds.labelled_scores import gather
from critic.thresholds.slices import DIMENSIONS, composition, slices
from critic.training import retraining
from critic.training.train import readiness
from db.images.records import image_record
from db.labelling.labels import majority_labels
from db.schema import AnswerKey, Image, Release, Run, Score, Triple
from db.store import queries, runs
from db.store.session import Store
from regions import references
from regions.errors import UserError

_NEAR = 4
"""Triples shown on each side of the threshold."""

_RESAMPLES, _FEW_RESAMPLES = 500, 200
_LONG = ("curve", "composition", "calibration", "promises")
"""What the page asks for when it shows one critic."""


def overview(store: Store) -> dict[str, Any]:
    """The trained critics (newest first), or whether votes would do for one; and the releases."""
    with store.write() as session:
        found = session.scalars(
            select(Run).where(Run.kind == "critic", Run.status == "done").order_by(Run.id.desc())
        ).all()
        ready = {}
        if not found:
            ready = {
                "people": asdict(readiness(session)),
                "simulated": asdict(readiness(session, simulated=True)),
            }
        critics = [
            {
                "name": run.name,
                "kind": run.settings.get("kind", "baseline"),
                "simulated": run.simulated,
                **{key: value for key, value in run.results.items() if key not in _LONG},
            }
            for run in found
        ]
        can_simulate = session.scalar(select(AnswerKey.triple_id).limit(1)) is not None
        return {
            "ready": ready,
            "critics": critics,
            "releases": releases(session),
            "retraining": retraining.standing(session),
            "history": retraining.history(session),
            "can_simulate": can_simulate,
        }


def curve_of(store: Store, run_name: str) -> dict[str, Any]:
    """A critic's curve on test images, how it is calibrated, and what every threshold keeps."""
    with store.read() as session:
        run = runs.newest(session, "critic", run_name)
        made_of = run.results.get("composition") or composition(session, run.id)
        whole: dict[str, list[int]] = next(iter(made_of.values()), {})
        counts = [sum(column) for column in zip(*whole.values(), strict=True)] or [0] * 101
        return {
            **run.results["curve"],
            "kept of all": counts,
            "all": counts[0],
            "calibration": run.results.get("calibration", []),
            "dimensions": DIMENSIONS,
        }


def at_thresholds(
    store: Store, run_name: str | None, threshold: float | None
) -> list[dict[str, Any]]:
    """The curve of a run (None: the newest) as rows, at each tenth or at one threshold."""
    with store.read() as session:
        table = runs.newest(session, "critic", run_name).results["curve"]
    rows = []
    tenths = [step / 10 for step in range(11)]
    for at in tenths if threshold is None else [checked(threshold)]:
        i = next((i for i, t in enumerate(table["threshold"]) if t >= at), None)
        row: dict[str, Any] = {"threshold": at}
        for name in ("precision", "recall", "f1"):
            row[name] = None if i is None else table[name][i]
            row[f"{name} interval"] = None if i is None else table[f"{name} interval"][i]
        rows.append(row | {"kept": 0.0 if i is None else table["kept"][i]})
    return rows


def slices_of(
    store: Store, run_name: str | None, threshold: float, dimension: str
) -> list[dict[str, Any]]:
    """What a threshold does by kinds of triples; UserError for a dimension that is none."""
    if dimension not in DIMENSIONS:
        raise UserError(f"no dimension {dimension!r}", hint=f"use one of {', '.join(DIMENSIONS)}")
    with store.read() as session:
        run = runs.newest(session, "critic", run_name)
        tested = gather(session, run, "test").by_chance()
        return slices(session, run, tested, checked(threshold), dimension, resamples=_RESAMPLES)


def compared(store: Store) -> list[dict[str, Any]]:
    """All critics side by side; nothing where there is none."""
    return compare(store, [], resamples=_FEW_RESAMPLES)


def next_votes(store: Store, run_name: str, threshold: float, more: int) -> dict[str, Any]:
    """What `more` votes on triples that a threshold keeps would bring, by purpose."""
    with store.read() as session:
        run = runs.newest(session, "critic", run_name)
        found: dict[str, Any] = {}
        for purpose in ("estimate", "guarantee"):
            seen = vote_planning.look(session, run, threshold, purpose)
            found[purpose] = asdict(seen) | {"after": seen.after(min(more, seen.waiting))}
        return found


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
        regions = queries.regions_by_image(session, {image.id for _, _, image in rows})
        known = majority_labels(
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
                "image": image_record(image),
                "regions": [
                    asdict(r) for r in regions[image.id] if r.number in triple.visible_regions
                ],
                "mentioned": references.mentioned(f"{triple.question} {triple.answer}"),
            }
            for score, triple, image in rows
        ]


def releases(session: Session) -> list[dict[str, Any]]:
    """Every release, the newest first."""
    return [
        {
            "name": release.name,
            "critic": release.run.name,
            "threshold": release.threshold,
            "simulated": release.simulated,
            "kept": release.kept,
            "note": release.note,
            "selection": release.selection,
            "precision": release.estimate.get("precision"),
        }
        for release in session.scalars(
            select(Release).options(joinedload(Release.run)).order_by(Release.id.desc())
        )
    ]
