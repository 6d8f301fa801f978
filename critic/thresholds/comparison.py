"""Critics side by side, on the test triples that all of them have scored."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from critic.thresholds.curve import intervals
from critic.thresholds.evaluation import figures, told
from critic.thresholds.labelled_scores import Evidence, gather
from db.schema import Run
from db.store.session import Store
from regions.errors import UserError

CHANCE = "a random choice"
_DRAWS = 50


def compare(store: Store, names: Sequence[str], *, resamples: int) -> list[dict[str, Any]]:
    """One row a run, and one for a random choice of equal size: each figure and its interval.

    No names: every critic that is done. UserError where one is not there, or nothing is common.
    """
    with store.read() as session:
        found = _runs(session, names)
        evidence = [gather(session, run, "test").by_chance() for run in found]
        common = _common(evidence)
        rows = []
        for run, some in zip(found, evidence, strict=True):
            here = some.where(np.isin(some.triples, common))
            rows.append({"critic": run.name, **_row(here, resamples), **_cost(run)})
    return [*rows, {"critic": CHANCE, **_by_chance(evidence[0], common, resamples)}]


def _runs(session: Session, names: Sequence[str]) -> list[Run]:
    query = select(Run).where(Run.kind == "critic", Run.status == "done").order_by(Run.id)
    done = session.scalars(query).all()
    if lost := [name for name in names if name not in {run.name for run in done}]:
        raise UserError(f"no critic run named {lost[0]!r}", hint="see `lskd status`")
    found = [run for run in done if not names or run.name in names]
    if not found:
        raise UserError("no critic has been trained yet", hint="use `lskd critic train`")
    return found


def _common(evidence: Sequence[Evidence]) -> np.ndarray:
    common = evidence[0].triples
    for other in evidence[1:]:
        common = np.intersect1d(common, other.triples)
    if len(common) < 2:  # noqa: PLR2004 - nothing can be compared on one
        raise UserError(
            "these critics have no labelled test triples in common",
            hint="score with both: `lskd critic score --run NAME`",
        )
    return common


def _row(some: Evidence, resamples: int) -> dict[str, Any]:
    found = figures(some.accepted, some.scores)
    bounds = intervals(
        some.accepted,
        some.scores,
        some.images,
        figures,
        resamples=resamples,
        rng=np.random.default_rng(0),
    )
    return {"triples": len(some), **told(found, bounds)}


def _by_chance(some: Evidence, common: np.ndarray, resamples: int) -> dict[str, Any]:
    """What a filter that knows nothing would do: its scores are drawn, and drawn again."""
    here = some.where(np.isin(some.triples, common))
    rng = np.random.default_rng(0)
    drawn = [rng.random(len(here)) for _ in range(_DRAWS)]
    found = np.mean([figures(here.accepted, scores) for scores in drawn], axis=0)
    bounds = intervals(
        here.accepted,
        here.scores,
        here.images,
        lambda accepted, _: figures(accepted, rng.random(len(accepted))),
        resamples=resamples,
        rng=rng,
    )
    # It has no probability to be calibrated.
    none = [name for name in told(found, bounds) if name.startswith(("Brier", "calibration"))]
    return {
        "triples": len(here),
        **told(found, bounds),
        **dict.fromkeys(none),
        "seconds per 1,000 triples": 0.0,
        "dollars per 1,000 triples": 0.0,
    }


def _cost(run: Run) -> dict[str, Any]:
    return {
        name: run.results.get(name)
        for name in ("seconds per 1,000 triples", "dollars per 1,000 triples")
    }
