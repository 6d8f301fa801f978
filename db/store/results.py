"""Results as typed records: estimates with intervals, titles of fields, JSON in the store.

A result is a dataclass with snake_case fields. The store and `--json` hold `to_json` of it; tables
and pages show `title(field)`.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
_DECIMALS = 6

TITLES: Mapping[str, str] = {
    "acc_at_50": "Acc@50",
    "auroc": "AUROC",
    "best_f1": "Best F1",
    "brier": "Brier score",
    "corrected_precision": "Precision corrected for annotator error",
    "f1": "F1",
    "f1_at_08": "F1 at 0.8",
    "held_out_log_likelihood": "Held-out log-likelihood",
    "held_out_loss": "Held-out loss",
    "llm_calls": "LLM calls",
    "memory_gib": "Memory (GiB)",
    "mismatched_image_loss": "Loss with another image",
    "q_a": "Q-A",
    "q_ar": "Q-AR",
    "qa_r": "QA-R",
    "seconds_per_1000": "Seconds per 1,000 triples",
    "usd_per_1000": "Cost per 1,000 triples ($)",
    "weights_and_optimizer_gib": "Weights and optimizer (GiB)",
}
"""Titles of fields that are not simply their name in words; see `title`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval; None where it is undefined.

    >>> str(Estimate(0.7306, 0.6, 1.0)), str(Estimate(0.7306)), str(Estimate(None))
    ('0.731 [0.600, 1.000]', '0.731', '-')
    >>> f"{Estimate(73.06, 60, 100):.1f} %"
    '73.1 [60.0, 100.0] %'
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        return f"{self:.3f}"

    def __format__(self, spec: str) -> str:
        """Format the figure and its bounds by a format specification of floats."""
        if self.value is None:
            return "-"
        if self.low is None or self.high is None:
            return format(self.value, spec)
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


UNDEFINED = Estimate(None)


def title(field: str) -> str:
    """The title of a field, as tables and pages show it.

    The suffix `_usd` of amounts in dollars is left out: values have a dollar sign.

    >>> title("average_precision"), title("auroc"), title("max_cost_usd")
    ('Average precision', 'AUROC', 'Max cost')
    """
    if field in TITLES:
        return TITLES[field]
    words = field.removesuffix("_usd").replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def to_json(result: "DataclassInstance") -> dict[str, Any]:
    """A result as JSON: nan and infinity become null, floats keep six decimals."""
    plain: dict[str, Any] = _plain(dataclasses.asdict(result))
    return plain


def from_json(kind: type[T], stored: Mapping[str, Any]) -> T:
    """The result of type `kind` that `to_json` wrote; unknown fields are ignored."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind).validate_python(dict(stored))


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, _DECIMALS) if math.isfinite(value) else None
    return value
