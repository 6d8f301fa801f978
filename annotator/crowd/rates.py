"""Shares of successes with their 95 % interval."""

import math
from dataclasses import dataclass

_Z = 1.959963984540054
"""Of a 95 % interval: the 0.975 quantile of the standard normal distribution."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A share `correct` / `judged` with Wilson's 95 % interval; None if nothing was judged.

    >>> rate = Rate.of(9, 10)
    >>> rate.value, round(rate.low, 2), round(rate.high, 2)
    (0.9, 0.6, 0.98)
    """

    correct: int
    judged: int
    value: float | None
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper bound, 0 to 1."""
        return self.low, self.high

    @classmethod
    def of(cls, correct: int, judged: int) -> "Rate":
        """The rate of `correct` among `judged`."""
        value = correct / judged if judged else None
        return cls(correct, judged, value, *wilson_interval(correct, judged))


def wilson_interval(correct: int, judged: int) -> tuple[float, float]:
    """The score interval of a binomial proportion (Wilson 1927); 0 to 1 for no judgements.

    With p the share and z the quantile: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n).
    """
    if not judged:
        return 0.0, 1.0
    p, z2 = correct / judged, _Z * _Z
    centre = p + z2 / (2 * judged)
    half = _Z * math.sqrt(p * (1 - p) / judged + z2 / (4 * judged * judged))
    scale = 1 + z2 / judged
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
