"""What can be chosen when a student is trained; command line and page are made from this."""

from dataclasses import dataclass, field

TINY = "tiny"


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Settings of `lskd student train`."""

    release: str = field(metadata={"help": "The release to learn from."})
    name: str = field(default="", metadata={"help": "Name of the run; default: student-N."})
    model: str = field(
        default=TINY,
        metadata={"help": "tiny (made here), or any BLIP-2 of transformers by name or folder."},
    )
    steps: int = field(default=500, metadata={"help": "Training steps."})
    batch: int = field(default=16, metadata={"help": "Triples a step."})
    rate: float = field(
        default=1e-3, metadata={"help": "Peak learning rate; 1e-5 for large models."}
    )
    own: float = field(
        default=0.5, metadata={"help": "How often only the triple's own regions are drawn."}
    )
    rationale: float = field(
        default=0.5, metadata={"help": "How often the rationale is part of what is learned."}
    )
    language_steps: int = field(
        default=500, metadata={"help": "Steps in which the tiny model learns the language first."}
    )
    seed: int = field(default=0, metadata={"help": "Draws weights, batches and augmentation."})
