"""What a student is: it learns from marked pictures and texts about them, answers, and ranks."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from regions.geometry import Region
from regions.view import View
from student.settings import TrainSettings

Notes = Counter[str]
"""What a student has to say of its learning, such as texts that were too long."""
Scores = NDArray[np.float64]
Turn = tuple[str, str]
"""A question and its answer."""
Listener = Callable[[str], None]
"""Takes what has been written so far, each time there is more."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is said about a picture, in the numbers of its marks."""

    key: int
    """Which one it is, the same in every round."""
    question: str
    answer: str
    rationale: str = ""
    """Empty where it is not to be learned."""
    asks: bool = False
    """Whether the question is to be learned too."""
    turns: tuple[Turn, ...] = ()
    """What was said before."""
    about: frozenset[tuple[int, int]] = frozenset()
    """Which number in the texts is which region of the image."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture as it was drawn once, and the lessons about it."""

    image_id: int
    view: View
    shown: tuple[int, ...]
    """The regions of the image in the order drawn."""
    lessons: tuple[Lesson, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """A question about a picture as a student looks at it; without one it asks itself."""

    view: View
    question: str | None
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a student said. Texts speak of the regions shown, numbered from 0 in their order."""

    question: str
    answer: str
    rationale: str
    seconds: float
    confidence: float | None = None
    """How likely people would accept it; None where its score tells nothing of that."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a student learns."""

    steps: int
    rate: float
    keep: Path | None
    """Where a run leaves what it needs to go on after a kill."""
    begin: Callable[[int], None]
    """Called once with the steps that are done already."""
    watch: Callable[[int], dict[str, Any]]
    """Called now and then with the steps done: figures for the log."""
    log: Callable[[dict[str, Any]], None]
    """Takes what each step has to say."""
    about: dict[str, Any]
    """What has to be the same for a run to go on."""


class Lessons(Protocol):
    """Where lessons come from."""

    def batches(self, first: int, last: int) -> Iterator[tuple[list[Scene], int]]:
        """Steps `first` to `last` - 1: this process's scenes, and how many lessons all have."""
        ...


class Student(Protocol):
    """Any model that answers about the numbered regions of a picture."""

    notes: Notes
    writes: bool
    """Whether what it writes is worth reading, or only what it ranks."""

    def look(
        self, picture: Image, regions: Sequence[Region], texts: Sequence[str], shown: Sequence[int]
    ) -> View:
        """A picture as this student sees it: resized first, then with the regions told."""
        ...

    def fit(self, lessons: Lessons, schedule: Schedule) -> None:
        """Learn; UserError as soon as a loss is not finite."""
        ...

    def loss(self, scenes: Sequence[Scene]) -> float:
        """Mean loss of the lessons, in nats a token."""
        ...

    def answer(self, ask: Ask, listener: Listener | None = None) -> Answer:
        """Answer about a picture; with no question it asks itself one first."""
        ...

    def rank(self, asks: Sequence[Ask], choices: Sequence[Sequence[str]]) -> list[Scores]:
        """How good each choice is as the answer to each question: higher is better."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was learned, and what cannot be had elsewhere."""
        ...


class Trainable(Student, Protocol):
    """A student that is a network, and learns in steps (`student.training.trainer`)."""

    settings: TrainSettings
    device: Any

    @property
    def network(self) -> Any:  # noqa: ANN401 - torch's
        """All of it, frozen or not."""
        ...

    def losses(self, network: Any, scenes: Sequence[Scene], seed: int) -> Any:  # noqa: ANN401 - torch's
        """The loss of each lesson in turn, shape (lessons,); `network` is ours, or a team's."""
        ...

    def blocks(self) -> list[Any]:
        """What of the network can be spread over processes, one at a time."""
        ...

    def whole(self, folder: Path) -> None:
        """Write it so that transformers alone can load it."""
        ...
