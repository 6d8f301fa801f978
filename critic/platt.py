"""From one number a triple to a probability of acceptance (Platt 1999): the order stays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

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
