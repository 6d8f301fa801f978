"""Scenes without a store: pictures of noise with regions, and what is said of them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from regions import references
from regions.geometry import Region
from student.models.protocol import Lesson, Scene, Schedule, Student

REGIONS = [Region(n, (10.0 + 40 * n, 20, 40.0 + 40 * n, 90)) for n in range(3)]
SAID = [
    ("What is [0]?", "[0] is a lamp.", "It gives light."),
    ("Why is [1] near [0]?", "[1] wants to sit.", "[0] is a chair."),
    ("Where is [2]?", "By the door.", "[2] leans on it."),
]


def scene(student: Student, image: int, said: Sequence[tuple[str, str, str]] = SAID) -> Scene:
    pixels = np.random.default_rng(image).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    picture, shown = Pillow.fromarray(pixels), (0, 1, 2)
    texts = [text for one in said for text in one]
    view = student.look(picture, REGIONS, texts, shown)
    lessons = []
    for n in range(len(said)):
        question, answer, why = view.texts[3 * n : 3 * n + 3]
        about = references.mentioned(f"{question} {answer} {why}")
        pairs = frozenset((number, shown[number]) for number in about)
        lessons.append(Lesson(100 * image + n, question, answer, why, about=pairs))
    return Scene(image, view, shown, tuple(lessons))


class Same:
    """The same batches whenever they are asked for."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self._scenes = list(scenes)

    def batches(self, first: int, last: int) -> Iterator[tuple[list[Scene], int]]:
        for step in range(first, last):
            scenes = [replace(one, lessons=one.lessons[step % 2 :]) for one in self._scenes]
            yield scenes, sum(len(one.lessons) for one in scenes)


def schedule(steps: int, log: list[dict[str, Any]], keep: Path | None = None) -> Schedule:
    return Schedule(steps, 2e-3, keep, lambda _: None, lambda _: {}, log.append, {"as": "ever"})
