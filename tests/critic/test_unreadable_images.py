"""An image that cannot be read costs its triples, not the run."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from critic.features.views import group_by_image, prefetch_views
from critic.models.calibration import UNREADABLE_RAW, CalibratedScorer
from critic.protocol import UNREADABLE, Diagnostics, Example, ImageContext, Scores, Targets
from regions.errors import NotFoundError
from regions.geometry import Region
from regions.marks import parse_style
from regions.progress import no_progress

PICTURE = PIL.Image.new("RGB", (40, 30))
READABLE = ImageContext((40, 30), {0: Region(0, (1, 1, 9, 9))}, "", {0: ""}, lambda: PICTURE)


def damaged() -> PIL.Image.Image:
    raise NotFoundError("the image is damaged", where="s/a.jpg")


def example(image_id: int, *, readable: bool = True) -> Example:
    image = READABLE if readable else replace(READABLE, load_image=damaged)
    return Example(image_id, "[0]?", f"{image_id}", "r", (0,), image)


class ByAnswer(CalibratedScorer):
    """Scores an example by the number in its answer, once its image is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.diagnostics = Diagnostics()

    def raw_scores(self, examples: Sequence[Example]) -> Scores:
        scores = np.full(len(examples), UNREADABLE_RAW)
        groups = group_by_image(examples)
        style = parse_style("numbered")
        for group, _ in prefetch_views(examples, groups, (32, 32), style, self.diagnostics):
            scores[group] = [float(examples[n].answer) for n in group]
        return scores


def test_unreadable_examples_get_no_score_and_are_not_learned_from() -> None:
    examples = [example(n, readable=n != 2) for n in range(6)]
    targets = [Targets(n > 2 or n == 2) for n in range(6)]
    critic = ByAnswer()
    critic.fit(examples, targets, np.random.default_rng(0), no_progress, None)
    scores = critic.score(examples)
    assert scores[2] == UNREADABLE
    readable = np.delete(scores, 2)
    assert ((readable >= 0) & (readable <= 1)).all()
    assert (np.diff(readable) > 0).all()
    expected = {"unreadable_images": 1, "unreadable_example": "the image is damaged (s/a.jpg)"}
    assert expected.items() <= critic.diagnostics.as_results().items()


def test_without_any_readable_image_training_says_why() -> None:
    examples = [example(n, readable=False) for n in range(3)]
    with pytest.raises(NotFoundError, match=r"no image .* can be read: the image is damaged"):
        ByAnswer().fit(examples, [Targets(True)] * 3, np.random.default_rng(0))
