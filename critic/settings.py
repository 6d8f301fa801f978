"""What can be chosen when a critic is trained and releases; commands and page are made of it."""

from dataclasses import asdict, dataclass, field
from typing import Any

from regions.errors import UserError

TINY = "tiny"

KINDS = {
    "baseline": "texts, and whether they agree with what is known of their regions",
    "text": "texts alone: what a critic can know that sees nothing",
    "blip2": "a BLIP-2 that looks, and learns",
    "matching": "a BLIP-2's own image-text matching, which learned from no vote",
    "embeddings": "CLIP or SigLIP, frozen, with a small head that learns",
    "vqascore": "how likely a model that looks says yes, which learned from no vote",
    "average": "the mean of what other runs say: critics, or judges of `lskd generate judge`",
}


def checked(threshold: float) -> float:
    """A threshold that is one; UserError for another number."""
    if not 0 <= threshold <= 1:
        raise UserError(f"a threshold of {threshold} is no share", hint="use 0 to 1, such as 0.8")
    return threshold


@dataclass(frozen=True, slots=True)
class PictureSettings:
    """How a critic that looks at pictures looks, and how a BLIP-2 learns."""

    model: str = field(
        default="",
        metadata={"help": "A model by name or folder; tiny: a BLIP-2 made here, for a try."},
    )
    size: int = field(
        default=0, metadata={"help": "Side of the pictures in pixels, such as 480; 0: the model's."}
    )
    style: str = field(
        default="numbered", metadata={"help": "How regions are drawn: numbered, or lskd's own way."}
    )
    pictures: int = field(default=4, metadata={"help": "Pictures at once when scoring."})
    precision: str = field(
        default="auto", metadata={"help": "fp32, bf16, or auto: bf16 on a GPU that has it."}
    )
    own: float = field(
        default=0.6, metadata={"help": "How often only the triple's own regions are drawn."}
    )
    epochs: int = field(default=10, metadata={"help": "Rounds over the triples, at most."})
    patience: int = field(
        default=2, metadata={"help": "Rounds without a better average precision before it stops."}
    )
    batch: int = field(default=64, metadata={"help": "Triples a step."})
    piece: int = field(default=16, metadata={"help": "Triples in memory at once."})
    rate: float = field(
        default=0.0, metadata={"help": "Learning rate; 0: 1e-5, and 5e-4 for tiny."}
    )
    frugal: bool = field(
        default=False,
        metadata={"help": "Compute activations twice instead of keeping them: less memory."},
    )


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Settings of `lskd critic train`."""

    name: str = field(default="", metadata={"help": "Name of the run; default: critic-N."})
    kind: str = field(default="baseline", metadata={"help": f"One of {', '.join(KINDS)}."})
    labels: str = field(
        default="", metadata={"help": "Run of `lskd labels make`; default: the votes' majority."}
    )
    of: str = field(
        default="",
        metadata={"help": "Runs to average; a baseline weighs them beside its words. With commas."},
    )
    simulated: bool = field(
        default=False, metadata={"help": "Learn from simulated annotators' votes too."}
    )
    folds: int = field(
        default=5, metadata={"help": "Folds, by image, in which the critic is calibrated."}
    )
    resamples: int = field(
        default=1000, metadata={"help": "Bootstrap resamples of the images for each interval."}
    )
    seed: int = field(default=0, metadata={"help": "Draws the split, the folds and resamples."})

    def check(self) -> None:
        """UserError for what cannot be done so many times."""
        if self.folds < 2:  # noqa: PLR2004 - one fold leaves nothing to learn from
            raise UserError(f"{self.folds} folds", hint="use --folds 2 or more")
        if self.resamples < 1:
            raise UserError(f"{self.resamples} resamples", hint="use --resamples 1 or more")


@dataclass(frozen=True, slots=True)
class Selection:
    """What limits a release besides its threshold; 0 limits nothing."""

    top: int = field(default=0, metadata={"help": "The best so many that the threshold keeps."})
    share: float = field(
        default=0.0, metadata={"help": "The best share of all scored triples, such as 0.2."}
    )
    per_image: int = field(default=0, metadata={"help": "At most so many of one image."})
    per_kind: int = field(default=0, metadata={"help": "At most so many of one kind of question."})

    def check(self) -> None:
        """UserError for what selects nothing, or says two things."""
        if min(self.top, self.per_image, self.per_kind) < 0 or not 0 <= self.share <= 1:
            raise UserError("a limit below nothing", hint="use counts from 1, and a share up to 1")
        if self.top and self.share:
            raise UserError("two sizes are stated", hint="use --top or --share")

    def stated(self) -> dict[str, Any]:
        """What limits it, as JSON."""
        return {name: value for name, value in asdict(self).items() if value}
