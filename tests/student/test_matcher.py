"""What the paper's student learns by: which texts are negatives of which pictures, and how hard."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from blip2.model import tiny
from student.models.discriminative import Discriminative, text_of
from student.models.matching_network import Pairs
from student.models.protocol import Lesson, Scene
from student.settings import TrainSettings
from tests.student.conftest import TEXTS
from tests.student.scenes import scene


@pytest.fixture
def student() -> Discriminative:
    words = tiny.train_tokenizer(TEXTS)
    settings = TrainSettings(release="", kind="discriminative")
    return Discriminative.made((tiny.tiny_retrieval(words, seed=0), words), settings)


def told(one: Scene, shown: Sequence[int], question: str) -> Scene:
    """A scene of the same image with another drawing."""
    about = frozenset((n, region) for n, region in enumerate(shown) if f"[{n}]" in question)
    lesson = Lesson(7, question, "It is so.", about=about)
    return replace(one, shown=tuple(shown), lessons=(lesson,))


def pairs_of(student: Discriminative, scenes: Sequence[Scene]) -> Pairs:
    seen: list[Pairs] = []

    def network(_: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        seen.append(pairs)
        return torch.zeros(len(pairs.ids))

    student.losses(network, scenes, 0)  # type: ignore[arg-type]
    return seen[0]


def test_another_drawing_of_an_image_is_a_negative_where_its_numbers_are_other_regions(
    student: Discriminative,
) -> None:
    """The released code took all other triples of an image for negatives, true ones too."""
    one = scene(student, 0)
    scenes = [
        told(one, (0, 1, 2), "Why is [0] here?"),
        told(one, (1, 0), "Why is [1] here?"),
        told(one, (0,), "What is it?"),
        scene(student, 5),
    ]
    negative = pairs_of(student, scenes).negative
    # Region 0 is [0] on the first and third drawing, and [1] on the second.
    assert negative[0].tolist() == [False, True, False, True]
    # [1] is region 0 on its own drawing; on the first it is region 1, on the third nothing.
    assert negative[1].tolist() == [True, False, True, True]
    # What names no region is true of every drawing of its image.
    assert negative[2].tolist() == [False, False, False, True]
    assert negative[3:].tolist() == [[True, True, True, False]] * 3


def test_a_negative_is_drawn_by_its_name_not_by_its_place(
    student: Discriminative,
) -> None:
    """So that a team draws what one process would."""
    scenes = [scene(student, n) for n in range(3)]
    here = pairs_of(student, scenes)
    there = pairs_of(student, scenes[::-1])
    order = np.arange(9).reshape(3, 3)[::-1].ravel()
    torch.testing.assert_close(here.picture_noise, there.picture_noise[order][:, [2, 1, 0]])
    torch.testing.assert_close(here.text_noise, there.text_noise[order][:, order])


def test_a_batch_without_negatives_still_teaches(student: Discriminative) -> None:
    one = told(scene(student, 0), (0, 1, 2), "Why is [0] here?")
    losses = student.losses(student.network, [one], 0)
    assert losses.shape == (1,)
    assert torch.isfinite(losses).all()


def test_shorter_and_longer_texts_come_back_in_their_order(student: Discriminative) -> None:
    texts = ["a " * n for n in (9, 2, 7, 1, 5)]
    ids = student._ids(texts)  # noqa: SLF001 - texts of many lengths
    mask = (ids != 0).long()
    of = torch.arange(len(texts))
    found = student.network.in_halves(lambda _, mask, of: mask.sum(1) * 10 + of, ids, mask, of)
    assert found.tolist() == [int(n) * 10 + i for i, n in enumerate(mask.sum(1))]


def test_a_text_is_what_the_released_student_reads() -> None:
    lesson = Lesson(1, "Why?", "To rest.", "[0] sits.", turns=(("Who?", "He."),))
    assert text_of(lesson) == "Who? Answer: He. Why? Answer: To rest. Rationale: [0] sits."
