"""From one number a triple to a probability of acceptance (Platt 1999): the order stays.

Critics that say such a number without having learned from a vote differ in that number alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from critic.models.protocol import Example, Notes, Scores, Verdict
from regions.progress import Progress, no_progress

_FREE = 1e6
"""Hardly any regularisation: two weights, and a number of any scale."""


@dataclass(frozen=True, slots=True)
class Platt:
    """A slope that never falls, and an intercept."""

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def fitted(cls, values: NDArray[np.float64], accepted: Sequence[bool]) -> "Platt":
        """The likeliest; where a higher value means less acceptance, all values say the same."""
        scale = float(values.std()) or 1.0
        labels = np.asarray(accepted, dtype=int)
        model = LogisticRegression(C=_FREE).fit(values[:, None] / scale, labels)
        slope = float(model.coef_[0, 0]) / scale
        if slope > 0:
            return cls(slope, float(model.intercept_[0]))
        share = np.clip(labels.mean(), 1e-6, 1 - 1e-6)
        return cls(1e-6, float(np.log(share / (1 - share))))

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of shape (n,) -> probabilities."""
        return np.asarray(expit(self.slope * values + self.intercept), dtype=np.float64)


class Numbered:
    """A critic that has a number for each triple: votes only say what that is worth."""

    notes: Notes

    def __init__(self, platt: Platt | None = None) -> None:
        self.platt = platt or Platt()

    def numbers(self, examples: Sequence[Example]) -> Scores:
        """What it says of each example, on any scale: more is better."""
        raise NotImplementedError

    def fit(
        self,
        examples: Sequence[Example],
        verdicts: Sequence[Verdict],
        rng: np.random.Generator,
        progress: Progress = no_progress,
        keep: Path | None = None,
    ) -> None:
        """Find what its numbers are worth; whatever says them stays as it is."""
        del rng, keep
        self.platt = Platt.fitted(self.numbers(examples), [one.accept for one in verdicts])
        progress(1, 1)

    def score(self, examples: Sequence[Example]) -> Scores:
        """The probability of acceptance."""
        return self.platt(self.numbers(examples))
