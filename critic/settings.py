"""What can be chosen when a critic is trained; the command line and the page are made from this."""

from dataclasses import dataclass, field

BASELINE, TINY = "baseline", "tiny"


@dataclass(frozen=True, slots=True)
class Blip2Settings:
    """How a BLIP-2 critic learns and looks."""

    model: str = field(
        default=BASELINE,
        metadata={
            "help": "baseline: no pictures; tiny: a BLIP-2 made here; or one by name or folder."
        },
    )
    size: int = field(
        default=0, metadata={"help": "Side of the pictures in pixels, such as 480; 0: the model's."}
    )
    style: str = field(
        default="numbered", metadata={"help": "How regions are drawn: numbered, or lskd's own way."}
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
    pictures: int = field(default=4, metadata={"help": "Pictures at once when scoring."})
    rate: float = field(
        default=0.0, metadata={"help": "Learning rate; 0: 1e-5, and 5e-4 for tiny."}
    )


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Settings of `lskd critic train`."""

    name: str = field(default="", metadata={"help": "Name of the run; default: critic-N."})
    labels: str = field(
        default="", metadata={"help": "Run of `lskd labels make`; default: the votes' majority."}
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
