"""What a critic is: it learns from examples and labels, and scores examples; accept is 1."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from regions.errors import UserError
from regions.geometry import Region
from regions.progress import Progress

Scores = NDArray[np.float64]
"""Shape (examples,), in [0, 1]: the probability that people would accept."""


Notes = Counter[str]
"""What happened while a critic learned or scored, counted: texts cut, rounds, a batch halved."""


def _no_picture() -> PIL.Image.Image:
    raise UserError("there is no picture to look at", hint="use a critic that reads texts alone")


class Verdict(NamedTuple):
    """What people say of a triple, and of its parts where they judged those."""

    accept: bool
    qa: bool | None = None
    rationale: bool | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known of an image: its size in pixels, its regions, and what was said of them."""

    size: tuple[int, int]
    regions: dict[int, Region]
    scene: str
    """Texts about the whole image, with its questions and answers."""
    about: dict[int, str]
    """Label and texts of each region, by number."""
    picture: Callable[[], PIL.Image.Image] = _no_picture
    """Opens it, whole and without marks."""


@dataclass(frozen=True, slots=True)
class Example:
    """A triple as a critic sees it. `extra` are numbers that a file brought along."""

    image_id: int
    question: str
    answer: str
    rationale: str
    shown: tuple[int, ...]
    image: Surroundings
    extra: tuple[float, ...] = ()


class Critic(Protocol):
    """Any model that learns to accept as people do."""

    notes: Notes

    def fit(
        self,
        examples: Sequence[Example],
        verdicts: Sequence[Verdict],
        rng: np.random.Generator,
        progress: Progress,
        keep: Path | None,
    ) -> None:
        """Learn from labelled examples; those of one image never stand on both sides of a fold.

        What takes long may leave in `keep` what it needs to go on after a kill.
        """
        ...

    def score(self, examples: Sequence[Example]) -> Scores:
        """The probability that people would accept each example."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was learned into an empty folder, as data and never as code."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The critic that `save` wrote."""
        ...
