"""Interface of a student, and the records that go in and out of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from regions.geometry import Region
from regions.view import View
from student.settings import TrainSettings

Scores = NDArray[np.float64]
Turn = tuple[str, str]
"""A question and its answer."""
OnText = Callable[[str], None]
"""Called with the whole text generated so far, each time it grows."""


@dataclass(slots=True)
class Diagnostics:
    """Irregularities met while a student trains or answers."""

    truncated_texts: int = 0
    """Texts longer than the model's context."""
    reduced_micro_batch_size: int | None = None
    """Images per forward pass after the GPU ran out of memory; None if it did not."""
    unparsed_replies: int = 0
    """Replies of a language model that name none of the choices."""


@dataclass(frozen=True, slots=True)
class Example:
    """A training example; its texts use the numbers drawn on the image."""

    key: int
    """Identifies the example in every epoch: a triple's id, or minus an instruction's id."""
    question: str
    answer: str
    rationale: str = ""
    """Empty if the rationale is not part of the target."""
    question_is_target: bool = False
    """Whether the question is part of the target too."""
    turns: tuple[Turn, ...] = ()
    """Earlier turns of the conversation."""
    region_map: frozenset[tuple[int, int]] = frozenset()
    """Pairs of a number in the texts and the region of the image that it refers to."""


@dataclass(frozen=True, slots=True)
class ImageExamples:
    """An image, rendered once, and all examples that share the rendering."""

    image_id: int
    view: View
    visible_regions: tuple[int, ...]
    """Regions of the image in the order of their numbers on the view."""
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """A question about a view; None lets the student generate the question."""

    view: View
    question: str | None
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A student's answer. Regions in its texts are numbered from 0, as on the view."""

    question: str
    answer: str
    rationale: str
    seconds: float
    confidence: float | None = None
    """Probability that people would accept the answer; None if it is not calibrated."""


class Student(Protocol):
    """A model that answers questions about numbered regions of an image."""

    diagnostics: Diagnostics
    can_generate: bool
    """Whether generated answers are used; otherwise only the ranking of choices is."""

    def make_view(
        self,
        image: Image,
        regions: Sequence[Region],
        texts: Sequence[str],
        visible_regions: Sequence[int],
    ) -> View:
        """Render an image for this model: resize it, then mark `visible_regions` from 0 on."""
        ...

    def mean_loss(self, batch: Sequence[ImageExamples]) -> float:
        """Return the mean loss over the examples, in nats per token."""
        ...

    def answer(self, query: Query, on_text: OnText | None = None) -> Answer:
        """Answer a query, after generating its question if it has none."""
        ...

    def rank(self, queries: Sequence[Query], choices: Sequence[Sequence[str]]) -> list[Scores]:
        """Score each choice as the answer to its query: one array per query, higher is better."""
        ...

    def save(self, folder: Path) -> None:
        """Write the trained weights, and whatever cannot be obtained elsewhere."""
        ...


class TrainableStudent(Student, Protocol):
    """A student whose network `student.training.trainer.fit` can train."""

    settings: TrainSettings
    device: Any

    @property
    def network(self) -> Any:  # noqa: ANN401 - a torch module
        """The network, with trainable and frozen parameters."""
        ...

    def example_losses(self, network: Any, batch: Sequence[ImageExamples], seed: int) -> Any:  # noqa: ANN401 - torch
        """Return the loss of each example, shape (examples,); `network` may wrap `self.network`."""
        ...

    def fsdp_modules(self) -> list[Any]:
        """Return the submodules that FSDP shards as units."""
        ...

    def save_merged(self, folder: Path) -> None:
        """Write the whole model in the format of transformers."""
        ...
