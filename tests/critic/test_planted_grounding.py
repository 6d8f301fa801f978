"""A critic that sees images: planted claims are true of one region and false of the other.

Images are crops of the demo's photographs with a region on either side; a triple claims that one of
them is on the left. The texts do not tell which is: a critic has to read the number, find the mark
with this number, and see where it is.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from blip2.model.mark_pretraining import pretrain_on_marks
from blip2.model.tiny import IMAGE_SIZE
from critic.features.views import draw_example
from critic.models.baseline import Baseline
from critic.models.blip2.model import Blip2Critic, format_triple
from critic.models.blip2.trainer import TrainingData
from critic.protocol import Example, ImageContext, Targets
from critic.settings import TINY, ModelConfig
from critic.thresholds.curve import average_precision
from db.demo.project import PHOTOGRAPHS
from db.images.image_files import decode
from db.images.locations import PACKAGES, open_image
from regions.geometry import Region

pytestmark = pytest.mark.slow

SIDE, TRAINED, TESTED = 72, 4000, 200
UNSEEN = 3
"""Photographs held out for the test."""
PRETRAINING_STEPS = 300
"""Steps in which the tower is pretrained on marks and positions, as a real one on web data."""
SETTINGS = ModelConfig(
    model=TINY,
    image_size=SIDE,
    score_batch_size=64,
    epochs=4,
    patience=99,
    batch_size=32,
    micro_batch_size=32,
    learning_rate=1e-3,
    p_own_regions=0.2,
)
MARGIN = 0.35
"""Average precision by which the critic has to beat one that reads the texts only."""


@cache
def photographs() -> list[PIL.Image.Image]:
    files = sorted(PHOTOGRAPHS.glob("*.json"))
    names = [json.loads(file.read_text("utf-8"))["uri"] for file in files]
    return [decode(open_image(PACKAGES, n.removeprefix(PACKAGES)), n) for n in names]


def planted(photograph: PIL.Image.Image, image_id: int, rng: np.random.Generator) -> Example:
    """A crop with two regions; its triple claims that one of them is on the left."""
    side = int(rng.integers(min(photograph.size) // 2, min(photograph.size)))
    x, y = (int(rng.integers(0, length - side + 1)) for length in photograph.size)
    picture = photograph.crop((x, y, x + side, y + side)).resize((SIDE, SIDE))
    places = [rng.uniform(0.12, 0.4), rng.uniform(0.6, 0.88)]
    if rng.random() < 0.5:
        places.reverse()
    regions = {n: _box(n, place, rng.uniform(0.15, 0.85), rng) for n, place in enumerate(places)}
    image = ImageContext((SIDE, SIDE), regions, "", {}, lambda: picture)
    return claim(Example(image_id, "", "", "", (0, 1), image), int(rng.integers(2)))


def _box(number: int, x: float, y: float, rng: np.random.Generator) -> Region:
    half = rng.uniform(0.08, 0.15)
    edges = np.clip([x - half, y - half, x + half, y + half], 0, 1) * SIDE
    return Region(number, (edges[0], edges[1], edges[2], edges[3]))


def claim(example: Example, number: int) -> Example:
    """The same image with the claim about this region."""
    return replace(
        example,
        question=f"Where is [{number}]?",
        answer="On the left.",
        rationale=f"[{number}] is there.",
    )


def is_true(example: Example) -> bool:
    number = int(example.question[len("Where is [")])
    left, _, right, _ = example.image.regions[number].box
    return (left + right) / 2 < SIDE / 2


def mirrored(example: Example) -> Example:
    """The mirrored image and regions with the same texts."""
    picture = PIL.ImageOps.mirror(example.image.load_image())
    regions = {
        n: Region(n, (SIDE - r.box[2], r.box[1], SIDE - r.box[0], r.box[3]))
        for n, r in example.image.regions.items()
    }
    image = replace(example.image, regions=regions, load_image=lambda: picture)
    return replace(example, image=image)


def targets(examples: Sequence[Example]) -> list[Targets]:
    return [Targets(is_true(example)) for example in examples]


@dataclass(frozen=True)
class Trained:
    """A critic with its training examples, and examples of other photographs."""

    critic: Blip2Critic
    examples: list[Example]
    unseen: list[Example]


@pytest.fixture(scope="module")
def trained() -> Trained:
    rng = np.random.default_rng(0)
    train, test = photographs()[:-UNSEEN], photographs()[-UNSEEN:]
    examples = [planted(train[n % len(train)], n, rng) for n in range(TRAINED)]
    unseen = [planted(test[n % len(test)], TRAINED + n, rng) for n in range(TESTED)]
    texts = [format_triple(e.question, e.answer, e.rationale) for e in examples]
    critic = Blip2Critic.create(SETTINGS, texts, seed=0)
    small = [picture.resize((4 * IMAGE_SIZE, 4 * IMAGE_SIZE)) for picture in train]
    pretrain_on_marks(
        critic.network.encoder.model.vision_model, small, steps=PRETRAINING_STEPS, seed=0
    )
    critic.fit(examples, targets(examples), rng)
    return Trained(critic, examples, unseen)


def test_seeing_the_image_beats_reading_the_texts_by_a_wide_margin(trained: Trained) -> None:
    truth = [is_true(example) for example in trained.unseen]
    text_only = Baseline(grounding=False)
    text_only.fit(trained.examples, targets(trained.examples), np.random.default_rng(0))
    by_text = average_precision(truth, text_only.score(trained.unseen))
    by_image = average_precision(truth, trained.critic.score(trained.unseen))
    assert by_image > 0.9
    assert by_image - by_text > MARGIN


def test_claims_about_the_other_region_get_the_opposite_prediction(trained: Trained) -> None:
    here = trained.critic.score(trained.unseen) > 0.5
    other = [claim(e, 1 - int(e.question[len("Where is [")])) for e in trained.unseen]
    assert (here != (trained.critic.score(other) > 0.5)).mean() > 0.85


def test_mirroring_the_image_reverses_predictions(trained: Trained) -> None:
    """Mirroring the image makes true claims false, and changes the predictions."""
    here = trained.critic.score(trained.unseen) > 0.5
    there = trained.critic.score([mirrored(e) for e in trained.unseen]) > 0.5
    assert (here != there).mean() > 0.85


def test_no_training_example_is_mirrored(trained: Trained) -> None:
    """The released code flips images after marks are drawn."""
    critic, examples = trained.critic, trained.examples[:50]
    data = TrainingData(critic, examples, targets(examples), seed=0)
    rng = np.random.default_rng(0)
    for index, example in enumerate(examples):
        view = data.example(index, rng).view
        own = int(example.question[len("Where is [")])
        not_mirrored = [
            draw_example(example, shown, critic.image_size, critic.style).image.tobytes()
            for shown in ((own,), (0, 1), (1, 0))
        ]
        assert view.image.tobytes() in not_mirrored
