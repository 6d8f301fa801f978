"""A threshold that keeps a promised precision: learn, then test (Angelopoulos et al. 2021).

Test images say where to begin: at the threshold that calibration labels could best certify. From
there thresholds are tested downwards on calibration labels, which nothing else has seen, until one
fails (MAPIE's fixed sequence). The test is binomial, exact where triples of an image judge for
themselves; where they rise and fall together, they count for as many as they are worth (the design
effect of Kish 1965). `tests/critic/test_guarantee.py` holds it to its promise.
"""

import math
from dataclasses import dataclass

import numpy as np
from mapie.risk_control.fwer_control import control_fwer
from numpy.typing import NDArray
from scipy.special import betainc

from critic.thresholds.labelled_scores import NEVER, Evidence
from regions.errors import UserError

Floats = NDArray[np.float64]

_STEPS = 40
"""Thresholds that are tested, at most."""
_MOST = 1_000_000
"""Labels beyond this are none that anybody gives."""


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What calibration labels say of a target.

    `threshold` is None where none qualifies. `measured` is the precision on calibration triples at
    it, or at the best that was tested; `further` how many more labelled triples would do if
    precision there is what it seems, None where no number would.
    """

    target: float
    confidence: float
    threshold: float | None
    measured: float | None
    kept: float
    labelled: int
    images: int
    further: int | None


def guarantee(sealed: Evidence, tested: Evidence, target: float, confidence: float) -> Guarantee:
    """The lowest threshold whose precision is above `target` with so much confidence.

    `sealed` is of calibration images, `tested` of others. UserError where a share is none.
    """
    for name, share in (("target", target), ("confidence", confidence)):
        if not 0 < share < 1:
            raise UserError(f"a {name} of {share}", hint="use a share, such as 0.8")
    some = sealed.where(sealed.since < NEVER)
    if not len(some) or not len(tested):
        return Guarantee(target, confidence, None, None, 0.0, len(some), 0, None)
    alike = likeness(tested)
    thresholds = _sequence(some, tested, target, alike)
    found = p_values(some, thresholds, target, alike)
    passed = control_fwer(found, 1 - confidence, "fixed_sequence")
    best = int(passed[-1]) if len(passed) else 0
    kept = _kept(some, thresholds[best : best + 1])[:, 0]
    measured = float(some.accepted[kept].mean()) if kept.any() else None
    return Guarantee(
        target,
        confidence,
        float(thresholds[best]) if len(passed) else None,
        measured,
        float((some.scores >= thresholds[best]).mean()),
        len(some),
        len(np.unique(some.images)),
        0 if len(passed) else _further(some, kept, measured, target, 1 - confidence, alike),
    )


def likeness(evidence: Evidence) -> float:
    """How much triples of an image are accepted together beyond their scores, from 0 to 1.

    The intraclass correlation of what is left of labels when their tenth's share is taken away.
    """
    if not len(evidence):
        return 0.0
    order = np.argsort(evidence.scores, kind="stable")
    left = evidence.accepted.astype(float)
    for rows in np.array_split(order, min(10, len(order))):
        left[rows] -= left[rows].mean()
    _, image = np.unique(evidence.images, return_inverse=True)
    sums, squares = np.bincount(image, left), np.bincount(image, left**2)
    sizes = np.bincount(image)
    pairs = (sizes * (sizes - 1)).sum()
    variance = squares.sum() / len(left)
    if not pairs or not variance:
        return 0.0
    return float(np.clip((sums**2 - squares).sum() / pairs / variance, 0.0, 1.0))


def p_values(evidence: Evidence, thresholds: Floats, target: float, likeness: float) -> Floats:
    """Shape (thresholds,): the chance of so few rejected among the kept if `target` were true."""
    kept = _kept(evidence, thresholds)
    count = kept.sum(0)
    rejected = (kept & ~evidence.accepted[:, None]).sum(0)
    share = np.divide(rejected, count, out=np.ones(len(count)), where=count > 0)
    return _chance(_worth(evidence, kept, likeness), share, target)


def _kept(evidence: Evidence, thresholds: Floats) -> NDArray[np.bool_]:
    """Shape (triples, thresholds): what a threshold keeps and chance chose."""
    kept = evidence.scores[:, None] >= thresholds
    return np.asarray(kept & (evidence.since[:, None] <= thresholds))


def _worth(evidence: Evidence, kept: NDArray[np.bool_], likeness: float) -> Floats:
    """How many triples that judge for themselves those kept are worth, shape (thresholds,)."""
    _, image = np.unique(evidence.images, return_inverse=True)
    each = np.zeros((image.max() + 1, kept.shape[1]))
    np.add.at(each, image, kept)
    count = each.sum(0)
    together = np.divide((each**2).sum(0), count, out=np.ones(len(count)), where=count > 0)
    return np.asarray(count / (1 + likeness * (together - 1)))


def _chance(worth: Floats, rejected: Floats | float, target: float) -> Floats:
    """The binomial's lower tail, at counts that need not be whole; 1 where there are none."""
    few = np.minimum(rejected * worth, worth - 1e-9)
    tail = betainc(np.maximum(worth - few, 1e-9), np.maximum(few, 0) + 1, target)
    return np.asarray(np.where(worth > 0, tail, 1.0))


def _sequence(sealed: Evidence, tested: Evidence, target: float, likeness: float) -> Floats:
    """The thresholds in the order of testing, chosen before a calibration label is looked at.

    The first is the one that would be certified best if precision were what test images say.
    """
    falling = np.sort(sealed.scores)[::-1]
    steps = falling[np.unique(np.linspace(0, len(falling) - 1, _STEPS).astype(int))]
    kept = tested.scores[:, None] >= steps
    count = kept.sum(0)
    rejected = (kept & ~tested.accepted[:, None]).sum(0)
    # One of each more: nothing rejected among three says little.
    share = (rejected + 1) / (count + 2)
    hoped = _chance(_worth(sealed, _kept(sealed, steps), likeness), share, target)
    return np.asarray(steps[int(np.argmin(hoped)) :])


def _further(  # noqa: PLR0917 - what was found, and what was asked
    evidence: Evidence,
    kept: NDArray[np.bool_],
    measured: float | None,
    target: float,
    error: float,
    likeness: float,
) -> int | None:
    """Labelled triples that would be needed besides, if precision is what it seems."""
    if measured is None or measured <= target:
        return None
    worths = np.unique(np.geomspace(1, _MOST, 2000).round())
    enough = _chance(worths, 1 - measured, target) <= error
    if not enough.any():
        return None
    each = float(kept.sum() / _worth(evidence, kept[:, None], likeness)[0])
    needed = float(worths[int(np.argmax(enough))]) * each / float(kept.mean())
    return max(1, math.ceil(needed) - len(evidence))
