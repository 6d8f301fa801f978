"""What can be chosen when a student is trained; command line and page are made from this."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from regions.errors import UserError

TINY = "tiny"
Told = Literal["marks", "coordinates"]
"""How a model is told where regions are: by what is drawn, or in its family's own numbers."""

KINDS = {
    "generative": "a BLIP-2 that writes (OPT, FlanT5, InstructBLIP): its Q-Former learns",
    "discriminative": "a BLIP-2 that matches pictures and texts, as in the paper",
    "chat": "any image-text-to-text model of transformers, by LoRA",
    "expression": "no student: regions put into words for a language model, which the paper beat",
}


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Settings of `lskd student train`."""

    release: str = field(metadata={"help": "The release to learn from."})
    name: str = field(default="", metadata={"help": "Name of the run; default: student-N."})
    kind: str = field(default="generative", metadata={"help": f"One of {', '.join(KINDS)}."})
    model: str = field(
        default=TINY, metadata={"help": "tiny (made here), or a model by name or folder."}
    )
    steps: int = field(default=200, metadata={"help": "Training steps."})
    batch: int = field(default=32, metadata={"help": "Triples a step, of all processes together."})
    piece: int = field(default=16, metadata={"help": "Pictures in memory at once."})
    rate: float = field(
        default=0.0,
        metadata={"help": "Peak learning rate; 0: 1e-5, 1e-4 for LoRA, 1e-3 for tiny."},
    )
    own: float = field(
        default=0.5, metadata={"help": "How often only the triples' own regions are drawn."}
    )
    rationale: float = field(
        default=0.5, metadata={"help": "How often the rationale is part of what is learned."}
    )
    together: int = field(
        default=8, metadata={"help": "Triples about one image in a batch, at most."}
    )
    instructions: float = field(
        default=0.0,
        metadata={"help": "Share of LLaVA-style instructions among the pictures of a round."},
    )
    size: int = field(
        default=0, metadata={"help": "Side of the pictures in pixels, such as 480; 0: the model's."}
    )
    style: str = field(
        default="numbered", metadata={"help": "How regions are drawn: numbered, or lskd's own way."}
    )
    told: str = field(
        default="marks",
        metadata={"help": f"How a chat model is told of regions: {', '.join(get_args(Told))}."},
    )
    precision: str = field(
        default="auto", metadata={"help": "fp32, bf16, or auto: bf16 on a GPU that has it."}
    )
    frugal: bool = field(
        default=False,
        metadata={"help": "Compute activations twice instead of keeping them: less memory."},
    )
    shard: bool = field(
        default=False, metadata={"help": "Spread the weights over the processes (FSDP)."}
    )
    rank: int = field(default=16, metadata={"help": "Rank of LoRA's matrices."})
    every: int = field(
        default=100, metadata={"help": "Steps from one look at held-out triples to the next."}
    )
    base_steps: int = field(
        default=400, metadata={"help": "Steps in which a tiny base learns to see and to read."}
    )
    seed: int = field(default=0, metadata={"help": "Draws weights, batches and augmentation."})

    def check(self) -> None:
        """UserError for what cannot be trained."""
        if self.kind not in KINDS:
            raise UserError(f"no kind {self.kind!r}", hint=f"use one of {', '.join(KINDS)}")
        if self.told not in get_args(Told):
            raise UserError(f"--told {self.told!r}", hint=f"use {', '.join(get_args(Told))}")
        if self.told != "marks" and self.kind != "chat":
            raise UserError("only chat models read coordinates", hint="use --told marks")
        for name in ("steps", "batch", "piece", "together", "rank", "every"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)}", hint="use 1 or more")
        for name in ("own", "rationale", "instructions"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"--{name} {getattr(self, name)}", hint="use a share from 0 to 1")
        if self.instructions == 1:
            raise UserError("nothing but instructions", hint="use --instructions below 1")
        if not 0 <= self.rate < 1:
            raise UserError(f"a rate of {self.rate}", hint="use such as 1e-5; 0 chooses")
