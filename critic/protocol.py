"""The critic interface and its inputs: examples, targets and scores; accept is 1."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from regions.errors import UserError
from regions.geometry import Region
from regions.progress import Progress

Scores = NDArray[np.float64]
"""Shape (examples,), in [0, 1]: the probability that people accept each example.

`UNREADABLE` stands for an example whose image cannot be read.
"""

UNREADABLE = -1.0


def _no_image() -> PIL.Image.Image:
    raise UserError("this example has no image", hint="use --kind text or baseline")


class Targets(NamedTuple):
    """Training targets of a triple; the parts are None where nobody judged them."""

    accept: bool
    qa: bool | None = None
    """Whether question and answer are acceptable."""
    rationale: bool | None = None
    soft: float | None = None
    """Probability of acceptance to learn instead of `accept`."""

    @property
    def probability(self) -> float:
        """The target of acceptance, 0 to 1."""
        return float(self.accept) if self.soft is None else self.soft


@dataclass(frozen=True, slots=True)
class ImageContext:
    """An image with its regions and the texts known about it."""

    size: tuple[int, int]
    """Width and height in pixels."""
    regions: dict[int, Region]
    image_text: str
    """Texts about the whole image, including questions and answers."""
    region_texts: dict[int, str]
    """Label and texts of each region, by region number."""
    load_image: Callable[[], PIL.Image.Image] = _no_image
    """Open the image, without marks, at its original size."""


@dataclass(frozen=True, slots=True)
class Example:
    """A triple as input to a critic."""

    image_id: int
    question: str
    answer: str
    rationale: str
    visible_regions: tuple[int, ...]
    image: ImageContext
    extra_features: tuple[float, ...] = ()
    """Scores of other runs, in the order of `TrainSettings.from_runs`."""


@dataclass(slots=True)
class Diagnostics:
    """What happened while a critic was trained or scored."""

    truncated_texts: int = 0
    """Texts longer than the model's maximum length."""
    best_epoch: int | None = None
    """The epoch whose weights were kept; None for critics that are not trained in epochs."""
    processes: int | None = None
    """Training processes, where there were several."""
    reduced_micro_batch_size: int | None = None
    """Micro-batch size after running out of GPU memory."""
    reduced_score_batch_size: int | None = None
    """Images per scoring batch after running out of GPU memory."""
    unreadable_images: set[str] = field(default_factory=set)
    """The error of each image that could not be read; its triples were left out."""

    def as_results(self) -> dict[str, Any]:
        """Return the fields as those of `critic.results.CriticResults`."""
        results = asdict(self)
        errors = results.pop("unreadable_images")
        example = min(errors, default=None)
        return results | {"unreadable_images": len(errors), "unreadable_example": example}


class Critic(Protocol):
    """A model that learns to accept the triples that people accept."""

    diagnostics: Diagnostics

    def fit(
        self,
        examples: Sequence[Example],
        targets: Sequence[Targets],
        rng: np.random.Generator,
        progress: Progress,
        checkpoint_dir: Path | None,
    ) -> None:
        """Fit to labelled examples; cross-validation folds are grouped by image.

        Critics that train for long may write checkpoints into `checkpoint_dir` and resume from
        them.
        """
        ...

    def score(self, examples: Sequence[Example]) -> Scores:
        """The probability that people accept each example, shape (examples,).

        An image that cannot be read costs its examples, not the others; see `UNREADABLE`.
        """
        ...

    def save(self, folder: Path) -> None:
        """Save the fitted critic into an empty folder, as data without executable code."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load the critic that `save` wrote."""
        ...
