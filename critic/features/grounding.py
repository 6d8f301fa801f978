"""Features of whether a triple agrees with what is known about its image.

Words are compared by their first five letters, so that "helmets" matches "helmet".
"""

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from critic.protocol import Example, ImageContext
from regions import references

_STEM = re.compile(r"([a-z0-9]{3,5})[a-z0-9]*")
_STOP_STEMS = frozenset(
    _STEM.findall(
        "the and are was were for with that this there from have has had its his her they them "
        "their what why how who which where when does did can could will would likely most because "
        "about into than then not but you your one some any being been",
    )
)

FEATURE_NAMES = (
    "question_words",
    "answer_words",
    "rationale_words",
    "mentioned_regions",
    "visible_regions",
    "question_regions",
    "smallest_mentioned_area",
    "largest_mentioned_area",
    "overlap_with_mentioned_regions",
    "overlap_with_best_other_region",
    "question_overlap_with_its_regions",
    "question_overlap_with_best_other_region",
    "overlap_with_image_text",
    "unexplained_words",
    "new_words_in_answer",
    "new_words_in_rationale",
)
"""Names of the columns of `grounding_features`."""

_N_COUNTS = 6
"""The first columns are counts."""


def grounding_features(examples: Sequence[Example]) -> NDArray[np.float64]:
    """Shape (examples, len(FEATURE_NAMES)): counts as log(1 + count), the rest in [0, 1]."""
    words = _ImageWords()
    rows = np.array([_row(example, words) for example in examples]).reshape(-1, len(FEATURE_NAMES))
    rows[:, :_N_COUNTS] = np.log1p(rows[:, :_N_COUNTS])
    return rows


class _ImageWords:
    """Stems of an image's texts, cached for consecutive examples of the same image."""

    def __init__(self) -> None:
        self._image: ImageContext | None = None
        self.region_words: dict[int, frozenset[str]] = {}
        self.image_words: frozenset[str] = frozenset()
        self.all_words: frozenset[str] = frozenset()

    def load(self, image: ImageContext) -> None:
        """Compute the stems of this image, unless it is the one before."""
        if self._image is not image:
            self._image = image
            self.region_words = {number: stems(t) for number, t in image.region_texts.items()}
            self.image_words = stems(image.image_text)
            self.all_words = self.image_words.union(*self.region_words.values())


def stems(text: str) -> frozenset[str]:
    """The content words of a text, cut to five letters.

    >>> sorted(stems("The helmets are near [3]"))
    ['helme', 'near']
    """
    return frozenset(_STEM.findall(text.lower())) - _STOP_STEMS


def _row(example: Example, words: _ImageWords) -> list[float]:
    words.load(example.image)
    region_words = words.region_words
    question, answer, rationale = example.question, example.answer, example.rationale
    in_question = references.mentioned(question)
    mentioned = {*in_question, *references.mentioned(answer + rationale)}
    q, a, r = stems(question), stems(answer), stems(rationale)
    question_answer = q | a
    triple = question_answer | r
    others = [
        region_words[n] for n in example.visible_regions if n not in mentioned and n in region_words
    ]
    areas = _areas(example.image, mentioned)
    return [
        question.count(" "),
        answer.count(" "),
        rationale.count(" "),
        len(mentioned),
        len(example.visible_regions),
        len(in_question),
        min(areas),
        max(areas),
        _overlap(triple, _union(region_words, mentioned)),
        max([_overlap(triple, other) for other in others], default=0.0),
        _overlap(q, _union(region_words, in_question)),
        max([_overlap(q, other) for other in others], default=0.0),
        _overlap(triple, words.image_words),
        1 - _overlap(triple, words.all_words),
        1 - _overlap(a, q),
        1 - _overlap(r, question_answer),
    ]


def _union(region_words: Mapping[int, frozenset[str]], numbers: Collection[int]) -> frozenset[str]:
    return frozenset().union(*[region_words[n] for n in numbers if n in region_words])


def _overlap(words: frozenset[str], reference: frozenset[str]) -> float:
    """The share of `words` that are in `reference`."""
    return len(words & reference) / len(words) if words else 0.0


def _areas(image: ImageContext, numbers: set[int]) -> list[float]:
    """The share of the image that each region's box covers; [0] if no region is mentioned."""
    image_area = image.size[0] * image.size[1]
    areas = []
    for number in numbers & image.regions.keys():
        x1, y1, x2, y2 = image.regions[number].box
        areas.append((x2 - x1) * (y2 - y1) / image_area)
    return areas or [0.0]
