"""Settings of training and releasing; command line options and page forms are made from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from regions.errors import InvalidError

TINY = "tiny"
"""Model name of a small BLIP-2 that is created and trained from scratch."""

KINDS = {
    "baseline": "texts, and their agreement with what is known about the regions they mention",
    "text": "texts only: the ablation of a critic that sees nothing",
    "blip2": "a fine-tuned BLIP-2 on texts and marked images",
    "matching": "BLIP-2's pretrained image-text matching, calibrated on votes",
    "embeddings": "frozen CLIP or SigLIP embeddings with a trained linear head",
    "vqascore": "the probability that a vision-language model answers yes, calibrated on votes",
    "average": "the mean score of other runs: critics, or judges of `lskd generate judge`",
}


def check_threshold(threshold: float) -> float:
    """Return the threshold; InvalidError if it is not between 0 and 1."""
    if not 0 <= threshold <= 1:
        raise InvalidError(f"threshold must be between 0 and 1 (got {threshold})")
    return threshold


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The model of a critic that sees images, and the hyperparameters of BLIP-2 fine-tuning."""

    model: str = field(
        default="",
        metadata={
            "help": "Model name on the Hugging Face Hub or a folder; 'tiny' creates a small BLIP-2"
            " to try the workflow."
        },
    )
    image_size: int = field(
        default=0,
        metadata={
            "help": "Side of the input images in pixels, such as 480; 0: the model's own.",
            "aliases": ["--size"],
        },
    )
    style: str = field(
        default="numbered",
        metadata={"help": "Style of region marks: numbered, or lskd as the released checkpoints."},
    )
    score_batch_size: int = field(
        default=4, metadata={"help": "Images per batch when scoring.", "aliases": ["--pictures"]}
    )
    precision: str = field(
        default="auto", metadata={"help": "fp32, bf16, or auto: bf16 on GPUs that support it."}
    )
    p_own_regions: float = field(
        default=0.6,
        metadata={
            "help": "Probability of drawing only the triple's own regions in training.",
            "aliases": ["--own"],
        },
    )
    epochs: int = field(default=10, metadata={"help": "Maximum number of training epochs."})
    patience: int = field(
        default=2,
        metadata={"help": "Epochs without a better validation score before training stops."},
    )
    batch_size: int = field(
        default=64, metadata={"help": "Triples per optimizer step.", "aliases": ["--batch"]}
    )
    micro_batch_size: int = field(
        default=16,
        metadata={
            "help": "Triples in memory at once; gradients are accumulated over them.",
            "aliases": ["--piece"],
        },
    )
    learning_rate: float = field(
        default=0.0,
        metadata={
            "help": "Learning rate; 0: 1e-5, and 5e-4 for tiny.",
            "aliases": ["--rate"],
        },
    )
    gradient_checkpointing: bool = field(
        default=False,
        metadata={
            "help": "Recompute activations in the backward pass to save memory.",
            "aliases": ["--frugal"],
        },
    )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "ModelConfig":
        """The configuration in a critic's folder, also under former names.

        TypeError for an unknown key.
        """
        former = cls.former_names()
        return cls(**{former.get(key, key): value for key, value in document.items()})

    @classmethod
    def former_names(cls) -> dict[str, str]:
        """Former names of fields, which are those of their options, with today's."""
        return {
            alias.removeprefix("--"): f.name
            for f in fields(cls)
            for alias in f.metadata.get("aliases", ())
        }


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Settings of `lskd critic train`."""

    name: str = field(default="", metadata={"help": "Name of the run; default: critic-N."})
    kind: str = field(default="baseline", metadata={"help": f"One of {', '.join(KINDS)}."})
    labels: str = field(
        default="",
        metadata={"help": "Run of `lskd labels make` to train on; default: the majority vote."},
    )
    soft_labels: bool = field(
        default=False,
        metadata={"help": "Train on each label's probability instead of accept or reject."},
    )
    from_runs: str = field(
        default="",
        metadata={
            "help": "Comma-separated runs whose scores are averaged (--kind average) or used as"
            " extra features (baseline, text).",
            "aliases": ["--of"],
        },
    )
    simulated: bool = field(
        default=False, metadata={"help": "Include votes of simulated annotators."}
    )
    folds: int = field(
        default=5, metadata={"help": "Cross-validation folds for calibration, grouped by image."}
    )
    resamples: int = field(
        default=1000, metadata={"help": "Bootstrap resamples over images for each interval."}
    )
    seed: int = field(default=0, metadata={"help": "Random seed for split, folds and bootstrap."})

    def check(self) -> None:
        """InvalidError for a number of folds or resamples that is too small."""
        if self.folds < 2:  # noqa: PLR2004 - one fold leaves nothing to train on
            raise InvalidError(f"--folds must be at least 2 (got {self.folds})")
        if self.resamples < 1:
            raise InvalidError(f"--resamples must be at least 1 (got {self.resamples})")


@dataclass(frozen=True, slots=True)
class ReleaseFilter:
    """Limits of a release besides its threshold; 0 is no limit."""

    top: int = field(default=0, metadata={"help": "Keep the N highest-scoring triples."})
    share: float = field(
        default=0.0,
        metadata={"help": "Keep the highest-scoring share of all scored triples, such as 0.2."},
    )
    per_image: int = field(default=0, metadata={"help": "Maximum number of triples per image."})
    per_kind: int = field(
        default=0, metadata={"help": "Maximum number of triples per kind of question."}
    )

    def check(self) -> None:
        """InvalidError for a negative limit, a share above 1, or both --top and --share."""
        if min(self.top, self.per_image, self.per_kind) < 0:
            raise InvalidError("limits must be 1 or more")
        if not 0 <= self.share <= 1:
            raise InvalidError(f"--share must be between 0 and 1 (got {self.share})")
        if self.top and self.share:
            raise InvalidError("--top and --share cannot be combined")

    def has_limits(self) -> bool:
        """Whether anything is limited."""
        return bool(self.top or self.share or self.per_image or self.per_kind)
