"""Create releases: frozen selections of triples by a critic's scores, with estimated quality."""

from dataclasses import asdict

import numpy as np
from sqlalchemy import func, insert, literal, select
from sqlalchemy.orm import Session

from critic.releases.guarantees import certified_threshold
from critic.releases.release_filter import select_triples
from critic.settings import ReleaseFilter, check_threshold
from critic.thresholds import label_noise
from critic.thresholds.curve import bootstrap_intervals
from critic.thresholds.evaluation import to_estimate
from critic.thresholds.labelled_scores import LabelledScores, load_labelled_scores
from db.schema import Release, ReleaseTriple, Run
from db.store import queries, runs
from db.store.clock import now
from db.store.releases import ReleaseEstimate, ReleaseSelection
from db.store.results import Estimate, to_json
from db.store.session import Store
from regions.errors import ConflictError, InvalidError

_RESAMPLES = 500


def create_release(
    store: Store,
    name: str,
    threshold: float | None = None,
    *,
    precision: float | None = None,
    confidence: float = 0.9,
    run_name: str | None = None,
    simulated: bool = False,
    note: str = "",
    limits: ReleaseFilter | None = None,
) -> Release:
    """Keep triples at or above a threshold, within limits, and estimate precision and recall.

    Scores are those of a run (None: the newest critic). `precision` certifies a threshold, and
    cannot be combined with another threshold or limits, for which the guarantee would not hold.
    InvalidError for bad or missing parameters; ConflictError for a name in use, a selection that
    keeps nothing, a precision that cannot be certified, and a critic trained on simulated votes
    unless `simulated` allows it.
    """
    limits = limits or ReleaseFilter()
    limits.check()
    guarantee = None
    if precision is not None:
        if threshold is not None or limits.has_limits():
            raise InvalidError(
                "--precision cannot be combined with --threshold or limits",
                hint="the guarantee holds for all triples above its own threshold",
            )
        threshold, guarantee = certified_threshold(store, run_name, precision, confidence)
    if threshold is None:
        if not limits.has_limits():
            raise InvalidError(
                "nothing says which triples to keep",
                hint="use --threshold, --precision, --top or --share",
            )
        threshold = 0.0
    if not name.strip():
        raise InvalidError("a release needs a name", hint="such as pilot-1")
    check_threshold(threshold)
    with store.write() as session:
        run = runs.newest(session, "critic", run_name)
        if run.simulated and not simulated:
            raise ConflictError(
                f"{run.name} was trained on simulated votes",
                hint="no person cast these votes; use --simulated to release anyway",
            )
        queries.check_unused(session, Release, name)
        release = Release(
            name=name,
            run_id=run.id,
            threshold=threshold,
            simulated=run.simulated,
            note=note,
            selection=asdict(ReleaseSelection(**asdict(limits), guarantee=guarantee)),
            estimate={},
            created=now(),
        )
        session.add(release)
        session.flush()
        release.kept = _store_triples(session, release, limits)
        if not release.kept:
            raise ConflictError(
                f"no triple scored by {run.name} reaches {threshold}", hint="use a lower threshold"
            )
        release.estimate = to_json(estimate_release(session, run, release))
        session.flush()
        session.refresh(release, ["run"])
    return release


def estimate_release(session: Session, run: Run, release: Release) -> ReleaseEstimate:
    """Precision, recall and F1 of a release, on labelled triples of test images."""
    tested = load_labelled_scores(session, run, "test").random_subset()
    kept = select(ReleaseTriple.triple_id).where(ReleaseTriple.release_id == release.id)
    tested_ids = tested.triple_ids.tolist()
    inside = set(session.scalars(kept.where(ReleaseTriple.triple_id.in_(tested_ids))))
    is_kept = np.array([i in inside for i in tested_ids], dtype=bool)
    precision, recall, f1 = _estimates(tested, is_kept)
    accuracy = label_noise.estimate_vote_accuracy(session, simulated=run.simulated)
    corrected = None
    if accuracy is not None and precision.value is not None:
        corrected = _corrected(precision, accuracy)
    return ReleaseEstimate(precision, recall, f1, corrected)


def _corrected(precision: Estimate, accuracy: label_noise.VoteAccuracy) -> Estimate:
    bounds = (precision.value, precision.low, precision.high)
    return Estimate(
        *(None if x is None else label_noise.correct_precision(x, accuracy) for x in bounds)
    )


def _estimates(tested: LabelledScores, is_kept: np.ndarray) -> list[Estimate]:
    """Precision, recall and F1 of keeping, with intervals over images."""

    def statistics(accepted: np.ndarray, kept: np.ndarray) -> np.ndarray:
        correct = (accepted & (kept > 0)).sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.array(
                [
                    correct / kept.sum(),
                    correct / accepted.sum(),
                    2 * correct / (kept.sum() + accepted.sum()),
                ]
            )

    values = statistics(tested.accepted, is_kept.astype(float))
    bounds = bootstrap_intervals(
        tested.accepted,
        is_kept.astype(float),
        tested.image_ids,
        statistics,
        resamples=_RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return [to_estimate(value, bound) for value, bound in zip(values, bounds, strict=True)]


def _store_triples(session: Session, release: Release, limits: ReleaseFilter) -> int:
    """Store which triples the release keeps; their number."""
    query = select_triples(session, release.run_id, release.threshold, limits).subquery()
    kept = select(literal(release.id), query.c.id, query.c.value).order_by(query.c.id)
    columns = ["release_id", "triple_id", "score"]
    session.execute(insert(ReleaseTriple).from_select(columns, kept))
    return session.scalar(select(func.count()).where(ReleaseTriple.release_id == release.id)) or 0
