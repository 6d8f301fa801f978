"""A critic's figures on labelled test triples, each with an interval over images, as JSON."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, roc_auc_score

from critic.thresholds.curve import (
    Curve,
    average_precision,
    bands,
    curve,
    intervals,
    precision_in_top,
)
from critic.thresholds.labelled_scores import Evidence

PAPERS = 0.8
"""The threshold that LSKD filters at."""

_MOST_POINTS = 400
_BINS = 10

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def figures(accepted: Bools, scores: Floats) -> Floats:
    """All of `FIGURES`, in that order; nan where one is undefined."""
    both = bool(accepted.any() and not accepted.all())
    found = curve(accepted, scores)
    return np.array(
        [
            average_precision(accepted, scores),
            roc_auc_score(accepted, scores) if both else np.nan,
            np.nanmax(found.f1) if accepted.any() else np.nan,
            found.at(PAPERS)["f1"],
            precision_in_top(accepted, scores),
            brier_score_loss(accepted, scores, pos_label=True),
            calibration_error(accepted, scores),
        ]
    )


FIGURES = (
    "average precision",
    "AUROC",
    "best F1",
    f"F1 at {PAPERS}",
    "precision in top fifth",
    "Brier",
    "calibration error",
)


def evaluation(tested: Evidence, *, resamples: int, rng: np.random.Generator) -> dict[str, Any]:
    """Every figure, the curve with its bands, and how well scores are calibrated."""
    accepted, scores = tested.accepted, tested.scores
    found = figures(accepted, scores)
    bounds = intervals(accepted, scores, tested.images, figures, resamples=resamples, rng=rng)
    whole = curve(accepted, scores)
    points = np.unique(np.linspace(0, len(whole.thresholds) - 1, _MOST_POINTS).astype(int))
    around = bands(
        accepted,
        scores,
        tested.images,
        whole.thresholds[points],
        resamples=resamples,
        rng=rng,
    )
    return told(found, bounds) | {
        "acceptance": plain(accepted.mean()),
        "test images": len(np.unique(tested.images)),
        "curve": _table(whole, points, around),
        "calibration": [
            {"score": plain(score), "accepted": plain(share), "triples": int(count)}
            for score, share, count in calibration(accepted, scores)
        ],
    }


def told(found: Floats, bounds: Floats) -> dict[str, Any]:
    """Each of `FIGURES` by its name, and its interval: values (k,), bounds (k, 2)."""
    said: dict[str, Any] = {}
    for name, value, bound in zip(FIGURES, found, bounds, strict=True):
        said[name], said[f"{name} interval"] = plain(value), plain(bound)
    return said


def calibration(accepted: Bools, scores: Floats) -> list[tuple[float, float, int]]:
    """Mean score, share accepted and count of each tenth of the triples, by score."""
    order = np.argsort(scores, kind="stable")
    return [
        (float(scores[rows].mean()), float(accepted[rows].mean()), len(rows))
        for rows in np.array_split(order, _BINS)
        if len(rows)
    ]


def calibration_error(accepted: Bools, scores: Floats) -> float:
    """The mean distance of score and share accepted, over tenths of the triples."""
    found = calibration(accepted, scores)
    return sum(abs(score - share) * count for score, share, count in found) / len(scores)


def plain(value: Any) -> Any:  # noqa: ANN401 - numbers and arrays, as JSON takes them
    """Undefined values are None, the others have six decimals."""
    if isinstance(value, np.ndarray):
        return [plain(one) for one in value]
    return None if np.isnan(value) else round(float(value), 6)


def _table(found: Curve, points: NDArray[np.int64], around: dict[str, Floats]) -> dict[str, Any]:
    arrays = {
        "threshold": found.thresholds,
        "precision": found.precision,
        "recall": found.recall,
        "f1": found.f1,
        "kept": found.kept,
    }
    return {name: plain(array[points]) for name, array in arrays.items()} | {
        f"{name} interval": plain(interval) for name, interval in around.items()
    }
