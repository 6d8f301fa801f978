"""Platt scaling (Platt 1999): from a raw score to a probability of acceptance, in the same order.

Critics that are not trained on votes share `CalibratedScorer` and differ in their raw scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from critic.models.soft_targets import weighted_labels
from critic.protocol import UNREADABLE, Diagnostics, Example, Scores, Targets
from regions.errors import NotFoundError
from regions.progress import Progress, no_progress

UNREADABLE_RAW = -np.inf
_C = 1e6
"""Inverse regularisation: practically none, since raw scores have any scale."""


@dataclass(frozen=True, slots=True)
class Platt:
    """A sigmoid with a positive slope."""

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def fit(cls, raw_scores: NDArray[np.float64], targets: Sequence[Targets]) -> "Platt":
        """Fit by maximum likelihood; nearly constant if higher scores are accepted less often."""
        scale = float(raw_scores.std()) or 1.0
        rows = weighted_labels(targets)
        model = LogisticRegression(C=_C).fit(
            raw_scores[rows.index, None] / scale, rows.labels, rows.weights
        )
        slope = float(model.coef_[0, 0]) / scale
        if slope > 0:
            return cls(slope, float(model.intercept_[0]))
        rate = np.clip(np.mean([target.probability for target in targets]), 1e-6, 1 - 1e-6)
        return cls(1e-6, float(np.log(rate / (1 - rate))))

    def __call__(self, raw_scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Raw scores of shape (n,) -> probabilities."""
        return np.asarray(expit(self.slope * raw_scores + self.intercept), dtype=np.float64)


class CalibratedScorer:
    """Base of critics with a fixed raw score; votes only calibrate it."""

    diagnostics: Diagnostics

    def __init__(self, platt: Platt | None = None) -> None:
        self.platt = platt or Platt()

    def raw_scores(self, examples: Sequence[Example]) -> Scores:
        """A score of each example, on any scale; higher is better.

        `UNREADABLE_RAW` stands for an example whose image cannot be read.
        """
        raise NotImplementedError

    def fit(
        self,
        examples: Sequence[Example],
        targets: Sequence[Targets],
        rng: np.random.Generator,
        progress: Progress = no_progress,
        checkpoint_dir: Path | None = None,
    ) -> None:
        """Calibrate the raw scores."""
        del rng, checkpoint_dir
        raw_scores = self.raw_scores(examples)
        readable = raw_scores != UNREADABLE_RAW
        check_readable(readable, self.diagnostics)
        kept = [target for target, is_ok in zip(targets, readable, strict=True) if is_ok]
        self.platt = Platt.fit(raw_scores[readable], kept)
        progress(1, 1)

    def score(self, examples: Sequence[Example]) -> Scores:
        """The probability of acceptance, shape (examples,)."""
        raw_scores = self.raw_scores(examples)
        return np.where(raw_scores == UNREADABLE_RAW, UNREADABLE, self.platt(raw_scores))


def check_readable(readable: NDArray[np.bool_], diagnostics: Diagnostics) -> None:
    """NotFoundError if no image of the training examples can be read."""
    if not readable.any():
        example = min(diagnostics.unreadable_images, default="")
        raise NotFoundError(f"no image of the training triples can be read: {example}")
