"""Which triples to label next: those whose votes narrow what is known of a threshold the most.

Precision at a threshold rests on labelled triples that it keeps, of test images (the estimate) or
of calibration images (the guarantee). Votes on any others leave its interval as it is. They are
drawn by chance among those, so that figures at this threshold and above stay true.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from critic.settings import checked
from critic.thresholds.curve import bands
from critic.thresholds.labelled_scores import Evidence, gather
from db.labelling.batches import Selection, make_batch
from db.schema import Batch, BatchItem, Part, Run, Score, Split, Triple, Vote
from db.store import runs
from db.store.session import Store
from regions.errors import UserError

Purpose = Literal["estimate", "guarantee"]
MOST = 10_000
"""Waiting triples are counted up to here."""
_PART: dict[Purpose, Part] = {"estimate": "test", "guarantee": "calibration"}


@dataclass(frozen=True, slots=True)
class Next:
    """What there is to label for a threshold, and what it would bring."""

    waiting: int
    """Triples that it keeps, of these images, without votes and in no batch; `MOST` at most."""
    labelled: int
    """Of those that it keeps, how many have a label now."""
    width: float | None
    """Of precision's 95 % interval now."""

    def after(self, more: int) -> float | None:
        """The width once so many more are labelled: it falls with the root of their number."""
        if self.width is None or not self.labelled:
            return None
        return float(self.width * np.sqrt(self.labelled / (self.labelled + more)))


def look(session: Session, run: Run, threshold: float, purpose: Purpose) -> Next:
    """What labelling for a threshold would bring."""
    known = gather(session, run, _PART[purpose])
    kept = known.where((known.scores >= threshold) & (known.since <= threshold))
    waiting = len(_waiting(session, run, threshold, purpose, most=MOST))
    return Next(waiting, len(kept), _width(kept))


def send(
    store: Store,
    run_name: str | None,
    threshold: float,
    purpose: Purpose,
    *,
    size: int,
    votes_required: int,
) -> tuple[str, int]:
    """Put `size` of them into a batch of their own, `wanted` votes each; its name and how many."""
    if size < 1:
        raise UserError(f"{size} triples to label", hint="use --size 1 or more")
    checked(threshold)
    with store.write() as session:
        run = runs.newest(session, "critic", run_name)
        waiting = _waiting(session, run, threshold, purpose)
        if not waiting:
            raise UserError(
                f"nothing that {threshold} keeps waits for votes on {_PART[purpose]} images",
                hint="use a lower threshold, or import more images",
            )
        rng = np.random.default_rng(len(waiting))
        drawn = [waiting[i] for i in rng.permutation(len(waiting))[:size]]
        begun = session.scalar(
            select(func.count()).select_from(Batch).where(Batch.name.startswith(f"{purpose} "))
        )
        name = f"{purpose} {(begun or 0) + 1} of {run.name} at {threshold:.2f}"
        make_batch(
            session,
            name,
            drawn,
            votes_required=votes_required,
            rng=rng,
            selection=Selection(run=run.name, score_from=threshold, size=size),
        )
    return name, len(drawn)


def _waiting(
    session: Session, run: Run, threshold: float, purpose: Purpose, most: int | None = None
) -> list[int]:
    query = (
        select(Score.triple_id)
        .join(Triple, Triple.id == Score.triple_id)
        .join(Split, Split.image_id == Triple.image_id)
        .where(
            Score.run_id == run.id,
            Score.value >= threshold,
            Split.part == _PART[purpose],
            Score.triple_id.not_in(select(BatchItem.triple_id)),
            Score.triple_id.not_in(select(Vote.triple_id)),
        )
    )
    return list(session.scalars(query.limit(most) if most else query.order_by(Score.triple_id)))


def _width(kept: Evidence) -> float | None:
    if len(np.unique(kept.images)) < 2:  # noqa: PLR2004 - images are redrawn
        return None
    rng = np.random.default_rng(0)
    found = bands(kept.accepted, kept.scores, kept.images, np.array([0.0]), resamples=500, rng=rng)
    low, high = found["precision"][0]
    return float(high - low)
