"""Settings of student training; the command line and stored settings are made from these fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self, get_args

from regions.errors import InvalidError

TINY = "tiny"
RegionInputKind = Literal["marks", "coordinates"]
"""How a model is shown regions: drawn on the image, or as coordinates in the prompt."""

KINDS = {
    "generative": "a BLIP-2 with a language model (OPT, FlanT5, InstructBLIP); trains the Q-Former",
    "discriminative": "a BLIP-2 for image-text matching, as in the paper; trains the Q-Former",
    "chat": "any image-text-to-text model of transformers, trained with LoRA",
}
_FORMER_NAMES = {"language_steps": "base_steps"}
"""Of the first release, beside the aliases of the fields."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Settings of `lskd student train`."""

    release: str = field(metadata={"help": "The release to train on."})
    name: str = field(default="", metadata={"help": "Name of the run; default: student-N."})
    kind: str = field(default="generative", metadata={"help": f"One of {', '.join(KINDS)}."})
    model: str = field(
        default=TINY,
        metadata={"help": "tiny (built here), or the name or folder of a pretrained model."},
    )
    steps: int = field(default=200, metadata={"help": "Training steps."})
    batch_size: int = field(
        default=32,
        metadata={"help": "Triples per step, over all processes.", "aliases": ["--batch"]},
    )
    micro_batch_size: int = field(
        default=16, metadata={"help": "Images per forward pass.", "aliases": ["--piece"]}
    )
    learning_rate: float = field(
        default=0.0,
        metadata={
            "help": "Peak learning rate; 0: 1e-5, 1e-4 for LoRA, 1e-3 for tiny.",
            "aliases": ["--rate"],
        },
    )
    p_own_regions: float = field(
        default=0.5,
        metadata={
            "help": "Probability that only the regions a triple mentions are drawn.",
            "aliases": ["--own"],
        },
    )
    p_rationale: float = field(
        default=0.5,
        metadata={
            "help": "Probability that the rationale is part of the target.",
            "aliases": ["--rationale"],
        },
    )
    triples_per_image: int = field(
        default=8,
        metadata={"help": "Most triples of one image in a batch.", "aliases": ["--together"]},
    )
    instruction_share: float = field(
        default=0.0,
        metadata={
            "help": "Share of LLaVA-style instructions among the images of an epoch.",
            "aliases": ["--instructions"],
        },
    )
    image_size: int = field(
        default=0,
        metadata={
            "help": "Side of the images in pixels, e.g. 480; 0: the model's own.",
            "aliases": ["--size"],
        },
    )
    style: str = field(
        default="numbered", metadata={"help": "How regions are drawn: numbered or lskd."}
    )
    region_input: str = field(
        default="marks",
        metadata={
            "help": f"How a chat model is shown regions: {', '.join(get_args(RegionInputKind))}.",
            "aliases": ["--told"],
        },
    )
    precision: str = field(
        default="auto", metadata={"help": "fp32, bf16, or auto: bf16 where the GPU supports it."}
    )
    gradient_checkpointing: bool = field(
        default=False,
        metadata={
            "help": "Recompute activations in the backward pass to save memory.",
            "aliases": ["--frugal"],
        },
    )
    shard: bool = field(
        default=False, metadata={"help": "Shard the weights over the processes (FSDP)."}
    )
    lora_rank: int = field(
        default=16, metadata={"help": "Rank of the LoRA matrices.", "aliases": ["--rank"]}
    )
    eval_every: int = field(
        default=100,
        metadata={"help": "Steps between evaluations and checkpoints.", "aliases": ["--every"]},
    )
    base_steps: int = field(
        default=400, metadata={"help": "Pretraining steps of the tiny base model."}
    )
    seed: int = field(
        default=0, metadata={"help": "Random seed for weights, batches and augmentation."}
    )

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> Self:
        """Return settings that were written as JSON, by this version or a former one."""
        former = _FORMER_NAMES | {
            alias.removeprefix("--"): setting.name
            for setting in fields(cls)
            for alias in setting.metadata.get("aliases", ())
        }
        return cls(**{former.get(name, name): value for name, value in stored.items()})

    def check(self) -> None:
        """Raise InvalidError for a value that is not allowed."""
        if self.kind not in KINDS:
            raise InvalidError(f"unknown kind {self.kind!r}", hint=f"use one of {', '.join(KINDS)}")
        if self.region_input not in get_args(RegionInputKind):
            raise InvalidError(
                f"unknown --region-input {self.region_input!r}",
                hint=f"use {' or '.join(get_args(RegionInputKind))}",
            )
        if self.region_input != "marks" and self.kind != "chat":
            raise InvalidError(
                "only chat models accept coordinates", hint="use --region-input marks"
            )
        for name in (
            "steps",
            "batch_size",
            "micro_batch_size",
            "triples_per_image",
            "lora_rank",
            "eval_every",
        ):
            if getattr(self, name) < 1:
                raise InvalidError(
                    f"{_option(name)} must be at least 1 (got {getattr(self, name)})"
                )
        for name in ("p_own_regions", "p_rationale", "instruction_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidError(
                    f"{_option(name)} must be between 0 and 1 (got {getattr(self, name)})"
                )
        if self.instruction_share == 1:
            raise InvalidError("--instruction-share must be below 1 (got 1)")
        if not 0 <= self.learning_rate < 1:
            raise InvalidError(
                f"--learning-rate must be between 0 and 1 (got {self.learning_rate})",
                hint="use e.g. 1e-5, or 0 for the default",
            )


def _option(field_name: str) -> str:
    return "--" + field_name.replace("_", "-")
