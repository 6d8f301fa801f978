"""Losses of the discriminative student: which texts are negatives of which images."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from blip2.model import tiny
from student.models.discriminative import DiscriminativeStudent, example_text
from student.models.matching_network import MatchingBatch
from student.models.protocol import Example, ImageExamples
from student.settings import TrainSettings
from tests.student.conftest import TEXTS
from tests.student.examples import image_examples


@pytest.fixture
def student() -> DiscriminativeStudent:
    tokenizer = tiny.train_tokenizer(TEXTS)
    settings = TrainSettings(release="", kind="discriminative")
    base = tiny.tiny_retrieval(tokenizer, seed=0), tokenizer
    return DiscriminativeStudent.from_tiny_base(base, settings)


def redrawn(group: ImageExamples, visible_regions: Sequence[int], question: str) -> ImageExamples:
    """The same image with other regions drawn, and one example."""
    region_map = frozenset((n, r) for n, r in enumerate(visible_regions) if f"[{n}]" in question)
    example = Example(7, question, "It is so.", region_map=region_map)
    return replace(group, visible_regions=tuple(visible_regions), examples=(example,))


def network_inputs(student: DiscriminativeStudent, batch: Sequence[ImageExamples]) -> MatchingBatch:
    inputs: list[MatchingBatch] = []

    def network(_: torch.Tensor, matching_batch: MatchingBatch) -> torch.Tensor:
        inputs.append(matching_batch)
        return torch.zeros(len(matching_batch.input_ids))

    student.example_losses(network, batch, 0)  # type: ignore[arg-type]
    return inputs[0]


def test_another_drawing_of_an_image_is_a_negative_where_its_numbers_are_other_regions(
    student: DiscriminativeStudent,
) -> None:
    """The released code took all other triples of an image for negatives, true ones too."""
    group = image_examples(student, 0)
    batch = [
        redrawn(group, (0, 1, 2), "Why is [0] here?"),
        redrawn(group, (1, 0), "Why is [1] here?"),
        redrawn(group, (0,), "What is it?"),
        image_examples(student, 5),
    ]
    negative = network_inputs(student, batch).is_negative
    # Region 0 is [0] on the first and third drawing, and [1] on the second.
    assert negative[0].tolist() == [False, True, False, True]
    # [1] is region 0 on its own drawing; on the first it is region 1, on the third nothing.
    assert negative[1].tolist() == [True, False, True, True]
    # A text without references is true of every drawing of its image.
    assert negative[2].tolist() == [False, False, False, True]
    assert negative[3:].tolist() == [[True, True, True, False]] * 3


def test_a_negative_is_sampled_by_its_key_and_not_by_its_position(
    student: DiscriminativeStudent,
) -> None:
    """So that several processes sample what one would."""
    batch = [image_examples(student, n) for n in range(3)]
    inputs = network_inputs(student, batch)
    reversed_inputs = network_inputs(student, batch[::-1])
    order = np.arange(9).reshape(3, 3)[::-1].ravel()
    torch.testing.assert_close(inputs.image_noise, reversed_inputs.image_noise[order][:, [2, 1, 0]])
    torch.testing.assert_close(inputs.text_noise, reversed_inputs.text_noise[order][:, order])


def test_a_batch_without_negatives_has_a_finite_loss(student: DiscriminativeStudent) -> None:
    group = redrawn(image_examples(student, 0), (0, 1, 2), "Why is [0] here?")
    losses = student.example_losses(student.network, [group], 0)
    assert losses.shape == (1,)
    assert torch.isfinite(losses).all()


def test_results_by_length_are_in_the_order_of_the_texts(student: DiscriminativeStudent) -> None:
    texts = ["a " * n for n in (9, 2, 7, 1, 5)]
    ids = student._token_ids(texts)  # noqa: SLF001 - texts of many lengths
    mask = (ids != 0).long()
    index = torch.arange(len(texts))
    results = student.network.by_length(
        lambda _, mask, index: mask.sum(1) * 10 + index, ids, mask, index
    )
    assert results.tolist() == [int(n) * 10 + i for i, n in enumerate(mask.sum(1))]


def test_an_example_has_the_text_format_of_the_released_student() -> None:
    example = Example(1, "Why?", "To rest.", "[0] sits.", turns=(("Who?", "He."),))
    assert example_text(example) == "Who? Answer: He. Why? Answer: To rest. Rationale: [0] sits."
