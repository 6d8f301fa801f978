"""Rules for the review of a study's workers. Imports nothing heavy: the command line needs it."""

from dataclasses import dataclass, field

from regions.errors import InvalidError


@dataclass(frozen=True, slots=True)
class ReviewRules:
    """Who is approved, who is rejected, and what bonus is paid; amounts in any currency."""

    min_gold_accuracy: float = field(
        default=0.0, metadata={"help": "Reject workers with a lower accuracy on gold."}
    )
    min_gold_judged: int = field(
        default=5,
        metadata={"help": "Gold that a worker must have judged before accuracy counts."},
    )
    max_too_fast: float = field(
        default=1.0,
        metadata={"help": "Reject workers with a higher share of votes that are too fast."},
    )
    reject_unfinished: bool = field(
        default=False, metadata={"help": "Reject workers who have not reached the quota."}
    )
    bonus: float = field(default=0.0, metadata={"help": "Bonus for each approved worker."})
    bonus_per_vote: float = field(
        default=0.0, metadata={"help": "Bonus for each vote of an approved worker."}
    )
    bonus_gold_accuracy: float = field(
        default=0.0, metadata={"help": "Accuracy on gold that a bonus requires."}
    )

    def __post_init__(self) -> None:
        for name in ("min_gold_accuracy", "max_too_fast", "bonus_gold_accuracy"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                option = name.replace("_", "-")
                raise InvalidError(f"--{option} must be between 0 and 1 (got {value})")
        if min(self.bonus, self.bonus_per_vote, self.min_gold_judged) < 0:
            raise InvalidError("a bonus or a number of gold cannot be negative")
