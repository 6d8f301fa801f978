"""Which triples to label next: those that narrow the interval of precision at a threshold.

Precision at a threshold is estimated on labelled triples at or above it: of test images for the
estimate, of calibration images for a guarantee. Other labels do not change its interval. Triples
are drawn at random among those, so that estimates at this threshold and above stay unbiased.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from critic.settings import check_threshold
from critic.thresholds.curve import bootstrap_bands
from critic.thresholds.labelled_scores import LabelledScores, load_labelled_scores
from db.labelling.batches import Selection, make_batch
from db.schema import Batch, BatchItem, Part, Run, Score, Split, Triple, Vote
from db.store import runs
from db.store.session import Store
from regions.errors import ConflictError, InvalidError

Purpose = Literal["estimate", "guarantee"]
MAX_AVAILABLE = 10_000
"""Available triples are counted up to this number."""
_PART_OF: dict[Purpose, Part] = {"estimate": "test", "guarantee": "calibration"}


@dataclass(frozen=True, slots=True)
class LabelingForecast:
    """What can be labelled for a threshold, and how precise precision is known."""

    available: int
    """Triples at or above the threshold without votes and in no batch; `MAX_AVAILABLE` at most."""
    labelled_triples: int
    """Labelled triples at or above the threshold."""
    interval_width: float | None
    """Width of precision's 95 % interval; None on fewer than two images."""

    def width_after(self, labels: int) -> float | None:
        """The expected width after more labels: it is proportional to 1 / sqrt(labels)."""
        if self.interval_width is None or not self.labelled_triples:
            return None
        share = self.labelled_triples / (self.labelled_triples + labels)
        return float(self.interval_width * np.sqrt(share))


@dataclass(frozen=True, slots=True)
class LabelingBatch:
    """A batch that was created, and its number of triples."""

    batch: str
    triples: int


def forecast(session: Session, run: Run, threshold: float, purpose: Purpose) -> LabelingForecast:
    """What labelling for a threshold would bring."""
    labelled = load_labelled_scores(session, run, _PART_OF[purpose])
    kept = labelled.subset((labelled.scores >= threshold) & (labelled.unbiased_from <= threshold))
    available = _available_triples(session, run, threshold, purpose, limit=MAX_AVAILABLE)
    return LabelingForecast(len(available), len(kept), _interval_width(kept))


def create_batch(
    store: Store,
    run_name: str | None,
    threshold: float,
    purpose: Purpose,
    *,
    size: int,
    votes_required: int,
) -> LabelingBatch:
    """Create a batch of `size` randomly drawn triples at or above a threshold.

    The scores are those of a run (None: the newest). InvalidError for a size below 1 or a bad
    threshold; ConflictError where no triple is available.
    """
    if size < 1:
        raise InvalidError(f"the number of triples must be at least 1 (got {size})")
    check_threshold(threshold)
    with store.write() as session:
        run = runs.newest(session, "critic", run_name)
        available = _available_triples(session, run, threshold, purpose)
        if not available:
            raise ConflictError(
                f"no unlabelled triple on {_PART_OF[purpose]} images scores at least {threshold}",
                hint="use a lower threshold, or import more images",
            )
        rng = np.random.default_rng(len(available))
        drawn = [available[i] for i in rng.permutation(len(available))[:size]]
        count = session.scalar(
            select(func.count()).select_from(Batch).where(Batch.name.startswith(f"{purpose} "))
        )
        name = f"{purpose} {(count or 0) + 1} of {run.name} at {threshold:.2f}"
        make_batch(
            session,
            name,
            drawn,
            votes_required=votes_required,
            rng=rng,
            selection=Selection(run=run.name, score_from=threshold, size=size),
        )
    return LabelingBatch(name, len(drawn))


def _available_triples(
    session: Session, run: Run, threshold: float, purpose: Purpose, limit: int | None = None
) -> list[int]:
    query = (
        select(Score.triple_id)
        .join(Triple, Triple.id == Score.triple_id)
        .join(Split, Split.image_id == Triple.image_id)
        .where(
            Score.run_id == run.id,
            Score.value >= threshold,
            Split.part == _PART_OF[purpose],
            Score.triple_id.not_in(select(BatchItem.triple_id)),
            Score.triple_id.not_in(select(Vote.triple_id)),
        )
    )
    return list(session.scalars(query.limit(limit) if limit else query.order_by(Score.triple_id)))


def _interval_width(kept: LabelledScores) -> float | None:
    if len(np.unique(kept.image_ids)) < 2:  # noqa: PLR2004 - the bootstrap resamples images
        return None
    bands = bootstrap_bands(
        kept.accepted,
        kept.scores,
        kept.image_ids,
        np.array([0.0]),
        resamples=500,
        rng=np.random.default_rng(0),
    )
    low, high = bands["precision"][0]
    return float(high - low)
