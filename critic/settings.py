"""What can be chosen when a critic is trained; the command line and the page are made from this."""

from dataclasses import dataclass, field


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
