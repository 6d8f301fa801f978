"""What a student is: it learns from pictures with marks and texts about them, and answers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Lesson:
    """A marked picture at the student's size, what it is told, and what it should say."""

    picture: Image
    prompt: str
    target: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a student said. Texts speak of the regions shown, numbered from 0 in their order."""

    question: str
    answer: str
    rationale: str
    seconds: float


class Student(Protocol):
    """Any model that answers about the numbered regions of a picture."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of the pictures it takes."""
        ...

    def fit(
        self,
        batches: Iterator[Sequence[Lesson]],
        *,
        steps: int,
        rate: float,
        progress: Callable[[int, float], None],
    ) -> float:
        """Learn for `steps` batches; `progress` gets the step and its loss. The mean last loss."""
        ...

    def loss(self, lessons: Sequence[Lesson]) -> float:
        """Mean loss a token of the targets, in nats."""
        ...

    def answer(self, picture: Image, regions: int, question: str | None) -> Answer:
        """Answer about a picture on which regions 0 to `regions` - 1 are marked.

        With no question it asks itself one first.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write what was learned, and what cannot be had elsewhere."""
        ...
