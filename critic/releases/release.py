"""Releases: a frozen choice of a critic's run and what it keeps; two of them side by side."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import numpy as np
from sqlalchemy import func, insert, literal, select
from sqlalchemy.orm import Session

from critic.releases.release_filter import selected
from critic.settings import Selection, checked
from critic.thresholds import label_noise
from critic.thresholds.curve import intervals
from critic.thresholds.evaluation import plain
from critic.thresholds.guarantee import Guarantee, guarantee
from critic.thresholds.labelled_scores import Evidence, gather
from db.schema import Release, ReleaseTriple, Run, Triple
from db.store import queries, runs
from db.store.clock import now
from db.store.session import Store
from regions.errors import UserError

_RESAMPLES = 500
_EXAMPLES = 5


def release(
    store: Store,
    name: str,
    threshold: float | None = None,
    *,
    precision: float | None = None,
    confidence: float = 0.9,
    run_name: str | None = None,
    simulated: bool = False,
    note: str = "",
    selection: Selection | None = None,
) -> Release:
    """Keep what reaches the threshold and the selection takes; estimate it on test images.

    Scores are those of a run's critic (None: the newest). A `precision` that is promised brings its
    own threshold, and holds for that alone. UserError for a name in use, for a threshold that is no
    share, keeps nothing or cannot be promised, and for a critic that learned from simulated votes
    unless `simulated` says that this is meant.
    """
    selection = selection or Selection()
    selection.check()
    promised = None
    if precision is not None:
        if threshold is not None or selection.stated():
            todo = "state the promise alone: it holds for a plain threshold"
            raise UserError("a promise beside other limits", hint=todo)
        promised = promised_threshold(store, run_name, precision, confidence)
        threshold = promised.threshold
    if threshold is None:
        if not selection.stated():
            todo = "state a threshold, a promised precision, or how many"
            raise UserError("nothing says what to keep", hint=todo)
        threshold = 0.0
    if not name.strip():
        raise UserError("a release needs a name", hint="such as pilot-1")
    checked(threshold)
    with store.write() as session:
        run = runs.newest(session, "critic", run_name)
        if run.simulated and not simulated:
            raise UserError(
                f"{run.name} learned from simulated votes, which are nobody's opinion",
                hint="say --simulated to release it all the same",
            )
        queries.check_unused(session, Release, name)
        made = Release(
            name=name,
            run_id=run.id,
            threshold=threshold,
            simulated=run.simulated,
            note=note,
            selection=selection.stated() | ({"promised": asdict(promised)} if promised else {}),
            estimate={},
            created=now(),
        )
        session.add(made)
        session.flush()
        made.kept = _keep(session, made, selection)
        if not made.kept:
            raise UserError(f"no score of {run.name} reaches {threshold}", hint="use a lower one")
        made.estimate = estimate(session, run, made)
        session.flush()
        session.refresh(made, ["run"])
    return made


def promise(store: Store, run_name: str | None, target: float, confidence: float) -> Guarantee:
    """The threshold of a run (None: the newest) that keeps a promised precision.

    Every question is written into the run's results: each answer keeps its promise by itself, not
    the best of many.
    """
    with store.write() as session:
        run = runs.newest(session, "critic", run_name)
        sealed = gather(session, run, "calibration")
        tested = gather(session, run, "test").by_chance()
        found = guarantee(sealed, tested, target, confidence)
        asked = [asdict(found), *run.results.get("promises", [])]
        newest: dict[tuple[float, float], Any] = {}
        for one in asked:
            newest.setdefault((one["target"], one["confidence"]), one)
        run.results = run.results | {"promises": list(newest.values())}
    return found


def promised_threshold(
    store: Store, run_name: str | None, target: float, confidence: float
) -> Guarantee:
    """As `promise`; UserError, saying what would help, where no threshold qualifies."""
    found = promise(store, run_name, target, confidence)
    if found.threshold is None:
        more = (
            f"about {found.further} more labelled triples would do: see `lskd critic next`"
            if found.further
            else "no number of votes would: train a better critic, or promise less"
        )
        raise UserError(f"no threshold promises {target}", hint=more)
    return found


def estimate(session: Session, run: Run, made: Release) -> dict[str, Any]:
    """What labelled test triples say of a release: each figure and its 95 % interval by image."""
    tested = gather(session, run, "test").by_chance()
    kept = select(ReleaseTriple.triple_id).where(ReleaseTriple.release_id == made.id)
    inside = set(session.scalars(kept.where(ReleaseTriple.triple_id.in_(tested.triples.tolist()))))
    found = _figures(tested, np.array([int(i) in inside for i in tested.triples], dtype=bool))
    measured = found["precision"]
    accuracy = label_noise.accuracy(session, simulated=run.simulated)
    if accuracy is not None and measured["value"] is not None and measured["interval"]:
        found["precision without the annotators' error"] = {
            "value": plain(_or_nan(label_noise.corrected(measured["value"], accuracy))),
            "interval": [
                plain(_or_nan(label_noise.corrected(end, accuracy))) if end is not None else None
                for end in measured["interval"]
            ],
        }
    return found


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def _figures(tested: Evidence, kept: np.ndarray) -> dict[str, Any]:
    def statistics(accepted: np.ndarray, kept_: np.ndarray) -> np.ndarray:
        right = (accepted & (kept_ > 0)).sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.array(
                [
                    right / kept_.sum(),
                    right / accepted.sum(),
                    2 * right / (kept_.sum() + accepted.sum()),
                ]
            )

    values = statistics(tested.accepted, kept.astype(float))
    bounds = intervals(
        tested.accepted,
        kept.astype(float),
        tested.images,
        statistics,
        resamples=_RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return {
        name: {"value": plain(value), "interval": plain(bound)}
        for name, value, bound in zip(("precision", "recall", "f1"), values, bounds, strict=True)
    }


def compared(store: Store, first: str, second: str) -> dict[str, Any]:
    """What two releases keep both, and each alone, with examples; UserError for an unknown one."""
    with store.read() as session:
        ids = [queries.by_name(session, Release, name).id for name in (first, second)]
        kept = [
            set(session.scalars(select(ReleaseTriple.triple_id).filter_by(release_id=one)))
            for one in ids
        ]
        return {
            "kept by both": len(kept[0] & kept[1]),
            f"kept by {first} only": len(kept[0] - kept[1]),
            f"kept by {second} only": len(kept[1] - kept[0]),
            "examples": {
                f"{first} only": _texts(session, kept[0] - kept[1]),
                f"{second} only": _texts(session, kept[1] - kept[0]),
            },
        }


def _texts(session: Session, triple_ids: Collection[int]) -> list[str]:
    some = sorted(triple_ids)
    drawn = np.random.default_rng(0).permutation(len(some))[:_EXAMPLES]
    found = session.scalars(
        select(Triple).where(Triple.id.in_([some[i] for i in drawn])).order_by(Triple.id)
    )
    return [f"{one.question} {one.answer} {one.rationale}" for one in found]


def _keep(session: Session, made: Release, selection: Selection) -> int:
    chosen = selected(session, made.run_id, made.threshold, selection).subquery()
    kept = select(literal(made.id), chosen.c.id, chosen.c.value).order_by(chosen.c.id)
    columns = ["release_id", "triple_id", "score"]
    session.execute(insert(ReleaseTriple).from_select(columns, kept))
    return session.scalar(select(func.count()).where(ReleaseTriple.release_id == made.id)) or 0
