"""Settings of label runs."""

from dataclasses import dataclass, field
from typing import Literal, get_args

FixedMethod = Literal["majority", "weighted", "dawid_skene", "one_coin", "with_critic"]
Method = Literal["auto"] | FixedMethod
METHODS: tuple[Method, ...] = ("auto", *get_args(FixedMethod))


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """How votes are aggregated; see `annotator.labels.aggregation` for the methods.

    `auto` is `dawid_skene` or `majority`; see `annotator.labels.method_choice`.
    """

    method: Method = field(
        default="auto", metadata={"help": f"Aggregation method: {', '.join(METHODS)}."}
    )
    critic: str = field(
        default="",
        metadata={"help": "Critic run whose scores with_critic uses (default: the newest)."},
    )
    simulated: bool = field(
        default=False, metadata={"help": "Include votes of simulated annotators."}
    )
