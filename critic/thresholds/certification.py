"""Certified thresholds: precision above a target with stated confidence.

Learn then test (Angelopoulos et al. 2021) with fixed-sequence testing, as in MAPIE. The sequence of
thresholds is chosen on test images; it starts at the threshold that calibration labels are most
likely to certify. Thresholds are then tested in descending order on calibration labels, which
nothing else uses, until one fails. Each test is a binomial test of the number of rejected triples.
Triples of one image are correlated, so the sample size is divided by the design effect (Kish 1965).
`tests/critic/test_certification.py` checks the error rate on simulated projects.
"""

import math

import numpy as np
from mapie.risk_control.fwer_control import control_fwer
from numpy.typing import NDArray
from scipy.special import betainc

from critic.thresholds.labelled_scores import NEVER, LabelledScores
from db.store.releases import Guarantee
from regions.errors import InvalidError

Floats = NDArray[np.float64]

_MAX_THRESHOLDS = 40
"""How many thresholds are tested at most."""
_MAX_LABELS = 1_000_000
"""Upper limit of the search for how many labels would suffice."""


def certify_threshold(
    calibration: LabelledScores, tested: LabelledScores, target: float, confidence: float
) -> Guarantee:
    """The lowest threshold whose precision exceeds `target` with probability `confidence`.

    `calibration` holds labels of calibration images, `tested` those of test images. InvalidError if
    target or confidence is not between 0 and 1.
    """
    for name, share in (("target precision", target), ("confidence", confidence)):
        if not 0 < share < 1:
            raise InvalidError(f"{name} must be between 0 and 1, exclusive (got {share})")
    labelled = calibration.subset(calibration.unbiased_from < NEVER)
    if not len(labelled) or not len(tested):
        return Guarantee(target, confidence, None, None, 0.0, len(labelled), 0, None)
    correlation = intraclass_correlation(tested)
    thresholds = _test_sequence(labelled, tested, target, correlation)
    passed = control_fwer(
        p_values(labelled, thresholds, target, correlation), 1 - confidence, "fixed_sequence"
    )
    best = int(passed[-1]) if len(passed) else 0
    kept = _kept(labelled, thresholds[best : best + 1])[:, 0]
    precision = float(labelled.accepted[kept].mean()) if kept.any() else None
    return Guarantee(
        target,
        confidence,
        float(thresholds[best]) if len(passed) else None,
        precision,
        float((labelled.scores >= thresholds[best]).mean()),
        len(labelled),
        len(np.unique(labelled.image_ids)),
        0
        if len(passed)
        else _labels_needed(labelled, kept, precision, target, 1 - confidence, correlation),
    )


def intraclass_correlation(labelled: LabelledScores) -> float:
    """Correlation of labels within an image that scores do not explain, from 0 to 1.

    Computed on the residuals of labels from the acceptance rate of their tenth by score.
    """
    if not len(labelled):
        return 0.0
    order = np.argsort(labelled.scores, kind="stable")
    residuals = labelled.accepted.astype(float)
    for rows in np.array_split(order, min(10, len(order))):
        residuals[rows] -= residuals[rows].mean()
    _, image = np.unique(labelled.image_ids, return_inverse=True)
    sums, squares = np.bincount(image, residuals), np.bincount(image, residuals**2)
    sizes = np.bincount(image)
    pairs = (sizes * (sizes - 1)).sum()
    variance = squares.sum() / len(residuals)
    if not pairs or not variance:
        return 0.0
    return float(np.clip((sums**2 - squares).sum() / pairs / variance, 0.0, 1.0))


def p_values(
    labelled: LabelledScores, thresholds: Floats, target: float, correlation: float
) -> Floats:
    """P-value of each threshold, shape (thresholds,); null hypothesis: precision <= target."""
    kept = _kept(labelled, thresholds)
    count = kept.sum(0)
    rejected = (kept & ~labelled.accepted[:, None]).sum(0)
    rejected_share = np.divide(rejected, count, out=np.ones(len(count)), where=count > 0)
    return _binomial_tail(
        _effective_sample_size(labelled, kept, correlation), rejected_share, target
    )


def _kept(labelled: LabelledScores, thresholds: Floats) -> NDArray[np.bool_]:
    """Triples at or above each threshold that count there, shape (triples, thresholds)."""
    kept = labelled.scores[:, None] >= thresholds
    return np.asarray(kept & (labelled.unbiased_from[:, None] <= thresholds))


def _effective_sample_size(
    labelled: LabelledScores, kept: NDArray[np.bool_], correlation: float
) -> Floats:
    """Kept triples divided by Kish's design effect, shape (thresholds,)."""
    _, image = np.unique(labelled.image_ids, return_inverse=True)
    per_image = np.zeros((image.max() + 1, kept.shape[1]))
    np.add.at(per_image, image, kept)
    count = per_image.sum(0)
    cluster_size = np.divide((per_image**2).sum(0), count, out=np.ones(len(count)), where=count > 0)
    return np.asarray(count / (1 + correlation * (cluster_size - 1)))


def _binomial_tail(sample_size: Floats, rejected_share: Floats | float, target: float) -> Floats:
    """P(at most so many rejected) if each triple is accepted with probability `target`.

    The binomial's lower tail for sample sizes that need not be integers; 1 for empty samples.
    """
    rejected = np.minimum(rejected_share * sample_size, sample_size - 1e-9)
    tail = betainc(np.maximum(sample_size - rejected, 1e-9), np.maximum(rejected, 0) + 1, target)
    return np.asarray(np.where(sample_size > 0, tail, 1.0))


def _test_sequence(
    calibration: LabelledScores, tested: LabelledScores, target: float, correlation: float
) -> Floats:
    """Thresholds in the order of testing, chosen without calibration labels.

    The first is the one with the smallest expected p-value, given the precision on test images.
    """
    descending = np.sort(calibration.scores)[::-1]
    steps = np.unique(np.linspace(0, len(descending) - 1, _MAX_THRESHOLDS).astype(int))
    thresholds = descending[steps]
    kept = tested.scores[:, None] >= thresholds
    count = kept.sum(0)
    rejected = (kept & ~tested.accepted[:, None]).sum(0)
    # Laplace smoothing: no rejected triple among three is weak evidence.
    rejected_share = (rejected + 1) / (count + 2)
    sample_size = _effective_sample_size(calibration, _kept(calibration, thresholds), correlation)
    expected = _binomial_tail(sample_size, rejected_share, target)
    return np.asarray(thresholds[int(np.argmin(expected)) :])


def _labels_needed(  # noqa: PLR0917 - what was measured, and what was asked
    labelled: LabelledScores,
    kept: NDArray[np.bool_],
    precision: float | None,
    target: float,
    error_rate: float,
    correlation: float,
) -> int | None:
    """Further labelled triples that would certify the target if precision is as measured."""
    if precision is None or precision <= target:
        return None
    sizes = np.unique(np.geomspace(1, _MAX_LABELS, 2000).round())
    is_enough = _binomial_tail(sizes, 1 - precision, target) <= error_rate
    if not is_enough.any():
        return None
    effective = _effective_sample_size(labelled, kept[:, None], correlation)[0]
    design_effect = float(kept.sum() / effective)
    needed = float(sizes[int(np.argmax(is_enough))]) * design_effect / float(kept.mean())
    return max(1, math.ceil(needed) - len(labelled))
