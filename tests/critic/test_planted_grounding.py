"""A critic that looks: what is planted is true of one region and false of the other.

Cuts of the demo's photographs with a region on either side; a triple says that one of them is on
the left. Texts say nothing of which it is: a critic has to read the number, find the mark that
bears it, and see where that lies.
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
from critic.features.views import draw
from critic.models.baseline import Baseline
from critic.models.blip2 import Blip2Critic, text_of
from critic.models.protocol import Example, Surroundings, Verdict
from critic.settings import TINY, PictureSettings
from critic.thresholds.curve import average_precision
from critic.training.trainer import Lessons
from db.demo.project import PHOTOGRAPHS
from db.images.image_files import decode
from db.images.locations import PACKAGES, open_image
from regions.geometry import Region

SIDE, LEARNED, TESTED = 72, 4000, 200
UNSEEN = 3
"""Photographs that are kept for the test."""
SEEING = 300
"""Steps in which the tower learns marks and places, as a real one has on the web."""
SETTINGS = PictureSettings(
    model=TINY,
    size=SIDE,
    pictures=64,
    epochs=4,
    patience=99,
    batch=32,
    piece=32,
    rate=1e-3,
    own=0.2,
)
MARGIN = 0.35
"""Average precision by which looking has to beat reading."""


@cache
def photographs() -> list[PIL.Image.Image]:
    files = sorted(PHOTOGRAPHS.glob("*.json"))
    names = [json.loads(file.read_text("utf-8"))["uri"] for file in files]
    return [decode(open_image(PACKAGES, n.removeprefix(PACKAGES)), n) for n in names]


def planted(photograph: PIL.Image.Image, image_id: int, rng: np.random.Generator) -> Example:
    """A cut with two regions; its triple says of one of them that it is on the left."""
    side = int(rng.integers(min(photograph.size) // 2, min(photograph.size)))
    x, y = (int(rng.integers(0, length - side + 1)) for length in photograph.size)
    picture = photograph.crop((x, y, x + side, y + side)).resize((SIDE, SIDE))
    places = [rng.uniform(0.12, 0.4), rng.uniform(0.6, 0.88)]
    if rng.random() < 0.5:
        places.reverse()
    regions = {n: _box(n, place, rng.uniform(0.15, 0.85), rng) for n, place in enumerate(places)}
    image = Surroundings((SIDE, SIDE), regions, "", {}, lambda: picture)
    return says(Example(image_id, "", "", "", (0, 1), image), int(rng.integers(2)))


def _box(number: int, x: float, y: float, rng: np.random.Generator) -> Region:
    half = rng.uniform(0.08, 0.15)
    edges = np.clip([x - half, y - half, x + half, y + half], 0, 1) * SIDE
    return Region(number, (edges[0], edges[1], edges[2], edges[3]))


def says(example: Example, number: int) -> Example:
    """The same picture, and the claim about this region."""
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
    """The picture and its regions from the other side; the words are the same."""
    picture = PIL.ImageOps.mirror(example.image.picture())
    regions = {
        n: Region(n, (SIDE - r.box[2], r.box[1], SIDE - r.box[0], r.box[3]))
        for n, r in example.image.regions.items()
    }
    image = replace(example.image, regions=regions, picture=lambda: picture)
    return replace(example, image=image)


def verdicts(examples: Sequence[Example]) -> list[Verdict]:
    return [Verdict(is_true(example)) for example in examples]


@dataclass(frozen=True)
class Learned:
    """A critic that has learned from some photographs, and cuts of others."""

    critic: Blip2Critic
    examples: list[Example]
    unseen: list[Example]


@pytest.fixture(scope="module")
def learned() -> Learned:
    rng = np.random.default_rng(0)
    seen, kept = photographs()[:-UNSEEN], photographs()[-UNSEEN:]
    examples = [planted(seen[n % len(seen)], n, rng) for n in range(LEARNED)]
    unseen = [planted(kept[n % len(kept)], LEARNED + n, rng) for n in range(TESTED)]
    texts = [text_of(e.question, e.answer, e.rationale) for e in examples]
    critic = Blip2Critic.new(SETTINGS, texts, seed=0)
    small = [picture.resize((4 * IMAGE_SIZE, 4 * IMAGE_SIZE)) for picture in seen]
    pretrain_on_marks(critic.judge.encoder.model.vision_model, small, steps=SEEING, seed=0)
    critic.fit(examples, verdicts(examples), rng)
    return Learned(critic, examples, unseen)


def test_looking_beats_reading_by_a_wide_margin(learned: Learned) -> None:
    truth = [is_true(example) for example in learned.unseen]
    reading = Baseline(grounding=False)
    reading.fit(learned.examples, verdicts(learned.examples), np.random.default_rng(0))
    by_text = average_precision(truth, reading.score(learned.unseen))
    by_sight = average_precision(truth, learned.critic.score(learned.unseen))
    assert by_sight > 0.9
    assert by_sight - by_text > MARGIN


def test_another_number_is_another_verdict(learned: Learned) -> None:
    here = learned.critic.score(learned.unseen) > 0.5
    other = [says(e, 1 - int(e.question[len("Where is [")])) for e in learned.unseen]
    assert (here != (learned.critic.score(other) > 0.5)).mean() > 0.85


def test_left_is_not_right(learned: Learned) -> None:
    """A mirrored picture makes what was true false, and the critic sees that."""
    here = learned.critic.score(learned.unseen) > 0.5
    there = learned.critic.score([mirrored(e) for e in learned.unseen]) > 0.5
    assert (here != there).mean() > 0.85


def test_no_lesson_is_mirrored(learned: Learned) -> None:
    """The released code turns pictures over after it has drawn on them."""
    critic, examples = learned.critic, learned.examples[:50]
    lessons = Lessons(critic, examples, verdicts(examples), seed=0)
    rng = np.random.default_rng(0)
    for place, example in enumerate(examples):
        given = lessons.lesson(place, rng).seen
        own = int(example.question[len("Where is [")])
        as_it_is = [
            draw(example, shown, critic.size, critic.style).image.tobytes()
            for shown in ((own,), (0, 1), (1, 0))
        ]
        assert given.image.tobytes() in as_it_is
