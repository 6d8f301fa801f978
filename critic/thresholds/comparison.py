"""Critics compared on the labelled test triples that all of them have scored."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from critic.results import METRICS, Metrics
from critic.thresholds.curve import bootstrap_intervals
from critic.thresholds.evaluation import compute_metrics, metric_estimates
from critic.thresholds.labelled_scores import LabelledScores, load_labelled_scores
from db.schema import Run
from db.store.results import UNDEFINED
from db.store.session import Store
from regions.errors import InvalidError, NotFoundError

RANDOM_BASELINE = "a random choice"
_DRAWS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCritic(Metrics):
    """A critic's metrics and cost, on triples that all compared critics have scored."""

    critic: str
    triples: int
    seconds_per_1000: float | None
    usd_per_1000: float | None


COLUMNS = ("critic", "triples", *METRICS, "seconds_per_1000", "usd_per_1000")
"""The fields of `ComparedCritic` in the order of a table."""


def compare_critics(store: Store, names: Sequence[str], *, resamples: int) -> list[ComparedCritic]:
    """One row per critic, and one for a random selection of equal size.

    Without names: all trained critics. NotFoundError for an unknown run; InvalidError where no test
    triple is scored by all.
    """
    with store.read() as session:
        runs = _load_runs(session, names)
        scores = [load_labelled_scores(session, run, "test").random_subset() for run in runs]
    common = _common_triples(scores)
    return [
        *(
            _compared(run, labelled.subset(np.isin(labelled.triple_ids, common)), resamples)
            for run, labelled in zip(runs, scores, strict=True)
        ),
        _random_baseline(scores[0].subset(np.isin(scores[0].triple_ids, common)), resamples),
    ]


def _load_runs(session: Session, names: Sequence[str]) -> list[Run]:
    query = select(Run).where(Run.kind == "critic", Run.status == "done").order_by(Run.id)
    trained = session.scalars(query).all()
    if missing := [name for name in names if name not in {run.name for run in trained}]:
        raise NotFoundError(f"no critic run named {missing[0]!r}", hint="see `lskd status`")
    runs = [run for run in trained if not names or run.name in names]
    if not runs:
        raise NotFoundError("no critic has been trained yet", hint="use `lskd critic train`")
    return runs


def _common_triples(scores: Sequence[LabelledScores]) -> np.ndarray:
    common = scores[0].triple_ids
    for other in scores[1:]:
        common = np.intersect1d(common, other.triple_ids)
    if len(common) < 2:  # noqa: PLR2004 - metrics need two triples
        raise InvalidError(
            "these critics have no labelled test triples in common",
            hint="score with both: `lskd critic score --run NAME`",
        )
    return common


def _compared(run: Run, labelled: LabelledScores, resamples: int) -> ComparedCritic:
    bounds = bootstrap_intervals(
        labelled.accepted,
        labelled.scores,
        labelled.image_ids,
        compute_metrics,
        resamples=resamples,
        rng=np.random.default_rng(0),
    )
    values = compute_metrics(labelled.accepted, labelled.scores)
    return ComparedCritic(
        critic=run.name,
        triples=len(labelled),
        seconds_per_1000=run.results.get("seconds_per_1000"),
        usd_per_1000=run.results.get("usd_per_1000"),
        **metric_estimates(values, bounds),
    )


def _random_baseline(labelled: LabelledScores, resamples: int) -> ComparedCritic:
    """A filter that knows nothing: metrics are means over random scores."""
    rng = np.random.default_rng(0)
    draws = [rng.random(len(labelled)) for _ in range(_DRAWS)]
    values = np.mean([compute_metrics(labelled.accepted, scores) for scores in draws], axis=0)
    bounds = bootstrap_intervals(
        labelled.accepted,
        labelled.scores,
        labelled.image_ids,
        lambda accepted, _: compute_metrics(accepted, rng.random(len(accepted))),
        resamples=resamples,
        rng=rng,
    )
    metrics = metric_estimates(values, bounds)
    # Random scores are no probabilities.
    metrics |= {"brier": UNDEFINED, "calibration_error": UNDEFINED}
    return ComparedCritic(
        critic=RANDOM_BASELINE,
        triples=len(labelled),
        seconds_per_1000=0.0,
        usd_per_1000=0.0,
        **metrics,
    )
