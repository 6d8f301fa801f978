"""What can be chosen about labels: defaults and help for the command line, in one place."""

from dataclasses import dataclass, field
from typing import Literal, get_args

Method = Literal["majority", "weighted", "dawid_skene", "one_coin", "with_critic"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """How votes are added up; `annotator.labels.aggregation` says what the methods are."""

    method: Method = field(default="one_coin", metadata={"help": f"One of {', '.join(METHODS)}."})
    critic: str = field(
        default="", metadata={"help": "Whose scores with_critic uses; default: the newest run."}
    )
    simulated: bool = field(
        default=False, metadata={"help": "Count votes of simulated annotators too."}
    )
