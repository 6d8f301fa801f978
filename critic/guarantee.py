"""A threshold that keeps a promised precision: learn, then test (Angelopoulos et al. 2021).

Thresholds are tested from the top down on calibration labels, which nothing else has seen, until
one fails (MAPIE's fixed sequence). The test is binomial, exact where triples of an image judge for
themselves; where they rise and fall together, they count for as many as they are worth (the design
effect of Kish 1965). `tests/critic/test_guarantee.py` holds it to its promise.
"""

import math
from dataclasses import dataclass

import numpy as np
from mapie.risk_control.fwer_control import control_fwer
from numpy.typing import NDArray
from scipy.special import betainc

from critic.evidence import NEVER, Evidence
from regions.errors import UserError

Floats = NDArray[np.float64]

_STEPS = 40
"""Thresholds that are tested, at most."""


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


def guarantee(evidence: Evidence, target: float, confidence: float, likeness: float) -> Guarantee:
    """The lowest threshold whose precision is above `target` with so much confidence.

    `likeness` is that of triples of an image. UserError where a share is none.
    """
    for name, share in (("target", target), ("confidence", confidence)):
        if not 0 < share < 1:
            raise UserError(f"a {name} of {share}", todo="use a share, such as 0.8")
    some = evidence.where(evidence.since < NEVER)
    if not len(some):
        return Guarantee(target, confidence, None, None, 0.0, 0, 0, None)
    thresholds = _sequence(some, target, 1 - confidence, likeness)
    tested = p_values(some, thresholds, target, likeness)
    passed = control_fwer(tested, 1 - confidence, "fixed_sequence")
    best = int(passed[-1]) if len(passed) else int(np.argmin(tested))
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
        0 if len(passed) else _further(some, kept, measured, target, 1 - confidence, likeness),
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
    _, image = np.unique(evidence.images, return_inverse=True)
    kept = _kept(evidence, thresholds)
    each = np.zeros((image.max() + 1, len(thresholds)))
    np.add.at(each, image, kept)
    count = each.sum(0)
    worth = count / _effect(each, likeness)
    rejected = (kept & ~evidence.accepted[:, None]).sum(0)
    share = np.divide(rejected, count, out=np.ones(len(count)), where=count > 0)
    # The binomial's tail, at counts that need not be whole.
    few = np.minimum(share * worth, worth - 1e-9)
    return np.where(count > 0, betainc(np.maximum(worth - few, 1e-9), few + 1, target), 1.0)


def _kept(evidence: Evidence, thresholds: Floats) -> NDArray[np.bool_]:
    """Shape (triples, thresholds): what a threshold keeps and chance chose."""
    kept = evidence.scores[:, None] >= thresholds
    return np.asarray(kept & (evidence.since[:, None] <= thresholds))


def _effect(each: Floats, likeness: float) -> Floats:
    """How many triples count for one; `each` is how many of each image are kept."""
    together = np.divide(
        (each**2).sum(0), each.sum(0), out=np.ones(each.shape[1]), where=each.sum(0) > 0
    )
    return np.asarray(1 + likeness * (together - 1))


def _sequence(evidence: Evidence, target: float, error: float, likeness: float) -> Floats:
    """The thresholds in the order of testing: chosen by scores alone, before a label is looked at.

    The first keeps as many triples as would do if half of those that may be rejected were.
    """
    falling = np.sort(evidence.scores)[::-1]
    steps = np.unique(np.linspace(0, len(falling) - 1, _STEPS).astype(int))
    _, image = np.unique(evidence.images, return_inverse=True)
    each = np.zeros((image.max() + 1, len(steps)))
    np.add.at(each, image, _kept(evidence, falling[steps]))
    worth = each.sum(0) / _effect(each, likeness)
    enough = _chance(worth, (1 - target) / 2, target) <= error
    first = int(np.argmax(enough)) if enough.any() else len(steps) - 1
    return np.asarray(falling[steps[first:]])


def _chance(worth: Floats, rejected: float, target: float) -> Floats:
    few = rejected * worth
    return np.asarray(betainc(np.maximum(worth - few, 1e-9), few + 1, target))


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
    worths = np.arange(1.0, 100_000.0)
    needed = worths[int(np.argmax(_chance(worths, 1 - measured, target) <= error))]
    each = np.bincount(np.unique(evidence.images[kept], return_inverse=True)[1])
    effect = float(_effect(each[:, None].astype(float), likeness)[0])
    share = kept.sum() / len(evidence)
    return max(1, math.ceil(float(needed) * effect / float(share)) - len(evidence))
