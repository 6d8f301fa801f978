"""Evaluation of a critic on labelled test triples: metrics, threshold curve and calibration."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import brier_score_loss, roc_auc_score

from critic.results import METRICS, Band, CalibrationBin, CurveTable, Evaluation
from critic.thresholds.curve import (
    ThresholdCurve,
    average_precision,
    bootstrap_bands,
    bootstrap_intervals,
    precision_in_top,
    threshold_curve,
)
from critic.thresholds.labelled_scores import LabelledScores
from db.store.results import Estimate

PAPER_THRESHOLD = 0.8
"""The threshold that LSKD filters at."""

_MAX_POINTS = 400
_BINS = 10

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def compute_metrics(accepted: Bools, scores: Floats) -> Floats:
    """The values of `METRICS`, in that order; nan where one is undefined."""
    has_both = bool(accepted.any() and not accepted.all())
    curve = threshold_curve(accepted, scores)
    return np.array(
        [
            average_precision(accepted, scores),
            roc_auc_score(accepted, scores) if has_both else np.nan,
            np.nanmax(curve.f1) if accepted.any() else np.nan,
            curve.at(PAPER_THRESHOLD).f1,
            precision_in_top(accepted, scores),
            brier_score_loss(accepted, scores, pos_label=True),
            calibration_error(accepted, scores),
        ]
    )


def evaluate(tested: LabelledScores, *, resamples: int, rng: np.random.Generator) -> Evaluation:
    """Evaluate scores against labels, with `resamples` bootstrap resamples over images."""
    accepted, scores, image_ids = tested.accepted, tested.scores, tested.image_ids
    values = compute_metrics(accepted, scores)
    bounds = bootstrap_intervals(
        accepted, scores, image_ids, compute_metrics, resamples=resamples, rng=rng
    )
    curve = threshold_curve(accepted, scores)
    points = np.unique(np.linspace(0, len(curve.thresholds) - 1, _MAX_POINTS).astype(int))
    bands = bootstrap_bands(
        accepted, scores, image_ids, curve.thresholds[points], resamples=resamples, rng=rng
    )
    return Evaluation(
        **metric_estimates(values, bounds),
        acceptance_rate=finite(accepted.mean()),
        test_images=len(np.unique(image_ids)),
        curve=_table(curve, points, bands),
        calibration=calibration_bins(accepted, scores),
    )


def metric_estimates(values: Floats, bounds: Floats) -> dict[str, Estimate]:
    """Each of `METRICS` with its interval: values of shape (k,), bounds of shape (k, 2)."""
    return {
        name: to_estimate(value, bound)
        for name, value, bound in zip(METRICS, values, bounds, strict=True)
    }


def to_estimate(value: float, bounds: ArrayLike = (np.nan, np.nan)) -> Estimate:
    """A value with its interval, shape (2,); nan becomes None."""
    low, high = np.asarray(bounds, dtype=float)
    return Estimate(finite(value), finite(low), finite(high))


def finite(value: Any) -> float | None:  # noqa: ANN401 - any of numpy's numbers
    """The value, or None for nan."""
    return None if np.isnan(value) else float(value)


def calibration_bins(accepted: Bools, scores: Floats) -> list[CalibrationBin]:
    """Mean score and acceptance rate in ten bins of equally many triples, by score."""
    order = np.argsort(scores, kind="stable")
    return [
        CalibrationBin(float(scores[rows].mean()), float(accepted[rows].mean()), len(rows))
        for rows in np.array_split(order, _BINS)
        if len(rows)
    ]


def calibration_error(accepted: Bools, scores: Floats) -> float:
    """Expected calibration error: mean |score - acceptance rate| over the bins, by their size."""
    bins = calibration_bins(accepted, scores)
    return sum(abs(b.mean_score - b.acceptance_rate) * b.triples for b in bins) / len(scores)


def _table(
    curve: ThresholdCurve, points: NDArray[np.int64], bands: dict[str, Floats]
) -> CurveTable:
    def band(name: str, values: Floats) -> Band:
        low, high = bands[name].T
        return Band(*([finite(v) for v in array] for array in (values[points], low, high)))

    return CurveTable(
        curve.thresholds[points].tolist(),
        band("precision", curve.precision),
        band("recall", curve.recall),
        band("f1", curve.f1),
        curve.kept_share[points].tolist(),
    )
