"""Examples without a store: images of noise with regions and texts, and fixed batches of them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from regions import references
from regions.geometry import Region
from student.models.protocol import Example, ImageExamples, Student
from student.training.trainer import FitConfig
from student.training.training_log import Evaluation, StepRecord

REGIONS = [Region(n, (10.0 + 40 * n, 20, 40.0 + 40 * n, 90)) for n in range(3)]
TRIPLES = [
    ("What is [0]?", "[0] is a lamp.", "It gives light."),
    ("Why is [1] near [0]?", "[1] wants to sit.", "[0] is a chair."),
    ("Where is [2]?", "By the door.", "[2] leans on it."),
]


def image_examples(
    student: Student, image_id: int, triples: Sequence[tuple[str, str, str]] = TRIPLES
) -> ImageExamples:
    """Examples about an image of noise, on which all regions are drawn in their order."""
    pixels = np.random.default_rng(image_id).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    shown = (0, 1, 2)
    texts = [text for triple in triples for text in triple]
    view = student.make_view(Pillow.fromarray(pixels), REGIONS, texts, shown)
    examples = []
    for n in range(len(triples)):
        question, answer, rationale = view.texts[3 * n : 3 * n + 3]
        mentioned = references.mentioned(f"{question} {answer} {rationale}")
        region_map = frozenset((number, shown[number]) for number in mentioned)
        key = 100 * image_id + n
        examples.append(Example(key, question, answer, rationale, region_map=region_map))
    return ImageExamples(image_id, view, shown, tuple(examples))


class FixedBatches:
    """A batch source whose batches depend on the step alone."""

    def __init__(self, batch: Sequence[ImageExamples]) -> None:
        self._batch = list(batch)

    def batches(self, start: int, stop: int) -> Iterator[tuple[list[ImageExamples], int]]:
        for step in range(start, stop):
            batch = [replace(group, examples=group.examples[step % 2 :]) for group in self._batch]
            yield batch, sum(len(group.examples) for group in batch)


def fit_config(steps: int, log: list[StepRecord], checkpoint_dir: Path | None = None) -> FitConfig:
    """A configuration that appends each step's record to `log`."""
    return FitConfig(
        steps,
        2e-3,
        checkpoint_dir,
        lambda _: None,
        Evaluation,
        log.append,
        {"version": 1},
    )
