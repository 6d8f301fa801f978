"""Whether a triple agrees with what is known of its image: numbers that any project can compute.

Words are compared by their first five letters, so that "helmets" meets "helmet".
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from critic.models.protocol import Example, Surroundings
from regions import references

_STEM = re.compile(r"([a-z0-9]{3,5})[a-z0-9]*")
_COMMON = frozenset(
    _STEM.findall(
        "the and are was were for with that this there from have has had its his her they them "
        "their what why how who which where when does did can could would will likely most because "
        "about into than then not but you your one some any being been",
    )
)

FEATURES = (
    "words in question",
    "words in answer",
    "words in rationale",
    "regions mentioned",
    "regions shown",
    "regions in question",
    "smallest region mentioned",
    "largest region mentioned",
    "agreement with mentioned regions",
    "agreement with the best other region",
    "agreement of the question with its regions",
    "agreement of the question with the best other",
    "agreement with the scene",
    "words that nothing known explains",
    "answer's new words",
    "rationale's new words",
)

_COUNTS = 6
"""The first so many are counts."""


def features(examples: Sequence[Example]) -> NDArray[np.float64]:
    """Shape (examples, len(FEATURES)): shares in [0, 1], counts as logarithms."""
    known = _Known()
    found = np.array([_row(example, known) for example in examples]).reshape(-1, len(FEATURES))
    found[:, :_COUNTS] = np.log1p(found[:, :_COUNTS])
    return found


class _Known:
    """The words of each image, computed once: most examples share theirs with the one before."""

    def __init__(self) -> None:
        self._image: Surroundings | None = None
        self.about: dict[int, frozenset[str]] = {}
        self.scene: frozenset[str] = frozenset()
        self.all: frozenset[str] = frozenset()

    def look_at(self, image: Surroundings) -> None:
        """Make this image's words those at hand."""
        if self._image is not image:
            self._image = image
            self.about = {number: stems(text) for number, text in image.about.items()}
            self.scene = stems(image.scene)
            self.all = self.scene.union(*self.about.values())


def stems(text: str) -> frozenset[str]:
    """The content words of a text, cut to five letters.

    >>> sorted(stems("The helmets are near [3]"))
    ['helme', 'near']
    """
    return frozenset(_STEM.findall(text.lower())) - _COMMON


def _row(example: Example, known: _Known) -> list[float]:
    known.look_at(example.image)
    about = known.about
    question, answer, rationale = example.question, example.answer, example.rationale
    in_question = references.mentioned(question)
    mentioned = {*in_question, *references.mentioned(answer + rationale)}
    q, a, r = stems(question), stems(answer), stems(rationale)
    said = q | a
    everything = said | r
    others = [about[n] for n in example.shown if n not in mentioned and n in about]
    areas = _areas(example.image, mentioned)
    return [
        question.count(" "),
        answer.count(" "),
        rationale.count(" "),
        len(mentioned),
        len(example.shown),
        len(in_question),
        min(areas),
        max(areas),
        _share(everything, _union(about, mentioned)),
        max([_share(everything, other) for other in others], default=0.0),
        _share(q, _union(about, in_question)),
        max([_share(q, other) for other in others], default=0.0),
        _share(everything, known.scene),
        1 - _share(everything, known.all),
        1 - _share(a, q),
        1 - _share(r, said),
    ]


def _union(about: dict[int, frozenset[str]], numbers: tuple[int, ...] | set[int]) -> frozenset[str]:
    return frozenset().union(*[about[number] for number in numbers if number in about])


def _share(words: frozenset[str], of: frozenset[str]) -> float:
    """How many of `words` are among `of`."""
    return len(words & of) / len(words) if words else 0.0


def _areas(image: Surroundings, numbers: set[int]) -> list[float]:
    """Shares of the picture that the regions' boxes cover; 0 where none is mentioned."""
    picture = image.size[0] * image.size[1]
    found = []
    for number in numbers & image.regions.keys():
        x1, y1, x2, y2 = image.regions[number].box
        found.append((x2 - x1) * (y2 - y1) / picture)
    return found or [0.0]
