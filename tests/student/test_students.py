"""What holds for a student of any kind: what learns, what is saved, how it answers and ranks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from PIL import ImageChops
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, Blip2ForImageTextRetrieval

from blip2.model import tiny as tiny_blip2
from regions import references
from regions.errors import UserError
from regions.geometry import Region
from student.asking.streaming import Telling
from student.models import box_format, freezing, registry
from student.models.chat import Chat
from student.models.generative import Generative
from student.models.protocol import Ask, Trainable
from student.settings import TrainSettings
from tests import tiny
from tests.student.conftest import Make
from tests.student.scenes import REGIONS, Same, scene, schedule


def clean(text: str) -> str:
    """Without the bytes that make no letter, of which a random model writes many."""
    return "".join(c for c in text if c.isprintable() and c != "\ufffd").strip()


LEARN = ("query_tokens", "qformer", "language_projection", "captioner", "coldness", "lora_")
MATCHES = ("embeddings.", "itm_head", "vision_projection", "text_projection")


def weights(student: Trainable) -> dict[str, torch.Tensor]:
    return {name: w.detach().clone() for name, w in student.network.named_parameters()}


def colours(picture: Pillow.Image) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.asarray(picture).reshape(-1, 3).tolist()}


def test_frozen_means_frozen(student: Trainable) -> None:
    before = weights(student)
    student.fit(Same([scene(student, n) for n in range(3)]), schedule(3, []))
    changed = {n for n, w in weights(student).items() if not torch.equal(w, before[n])}
    assert changed
    assert all(any(part in name for part in (*LEARN, *MATCHES)) for name in changed)
    assert not any(
        "vision_model" in name or "language_model" in name
        for name in changed
        if "lora_" not in name
    )


def test_it_learns(student: Trainable) -> None:
    scenes, log = [scene(student, n) for n in range(2)], list[dict[str, Any]]()
    student.fit(Same(scenes), schedule(24, log))
    assert np.mean([line["loss"] for line in log[-4:]]) < np.mean([one["loss"] for one in log[:4]])


def test_a_step_is_the_same_in_pieces(make: Make) -> None:
    """The mean over the lessons, however many there are about each picture."""
    student = make()
    if type(student).__name__ == "Discriminative":
        pytest.skip("its negatives are those in memory at once, as its guide says")
    logs: list[list[dict[str, Any]]] = []
    for piece in (1, 8):
        again = make()
        object.__setattr__(again.settings, "piece", piece)
        logs.append([])
        again.fit(Same([scene(again, n) for n in range(3)]), schedule(4, logs[-1]))
    one, many = ([line["loss"] for line in log] for log in logs)
    assert one == pytest.approx(many, abs=1e-4)


def test_only_what_learned_is_saved_and_it_loads_onto_its_base(
    student: Trainable, tmp_path: Path
) -> None:
    student.fit(Same([scene(student, 0)]), schedule(2, []))
    folder = tmp_path / "saved"
    folder.mkdir()
    registry.save(student, folder)
    loaded = registry.load(folder)
    seen = scene(student, 1)
    assert loaded.loss([seen]) == pytest.approx(student.loss([seen]), abs=1e-4)
    learned, _ = freezing.sizes(student.network)
    files = [file for file in folder.glob("*.safetensors") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 4.5 * learned + 20_000


def test_what_was_learned_of_another_base_is_refused(student: Trainable, tmp_path: Path) -> None:
    registry.save(student, tmp_path)
    file = next(file for file in tmp_path.glob("*.safetensors"))
    learned = load_file(file)
    name = next(name for name, weight in learned.items() if weight.dim() > 1)
    wider = torch.cat([learned[name], learned[name]], dim=-1)
    save_file(learned | {name: wider.contiguous()}, file)
    with pytest.raises(UserError, match=r"use the base"):
        registry.load(tmp_path)
    file.write_bytes(b"cut off")
    with pytest.raises(UserError, match=r"cannot be read|do not fit"):
        registry.load(tmp_path)


def test_no_region_comes_out_that_is_not_shown(student: Trainable) -> None:
    seen = scene(student, 0)
    found = student.answer(Ask(seen.view, None))
    assert found.question
    if isinstance(student, Generative):
        said = f"{found.question} {found.answer} {found.rationale}"
        assert set(references.mentioned(said)) <= {0, 1, 2}


def test_what_it_writes_is_told_as_it_writes(student: Trainable) -> None:
    heard: list[str] = []
    found = student.answer(Ask(scene(student, 0).view, "What is [0]?"), heard.append)
    assert heard
    assert len(set(heard)) == len(heard)
    assert clean(heard[-1]).startswith(clean(found.answer)[:20])


def test_choices_are_ranked_as_if_each_were_alone(student: Trainable) -> None:
    asks = [Ask(scene(student, n).view, "Where is [2]?") for n in range(2)]
    choices = [["By the door.", "On the very left of it."], ["A lamp.", "A chair.", "Yes."]]
    together = student.rank(asks, choices)
    assert [len(scores) for scores in together] == [2, 3]
    for ask, some, scores in zip(asks, choices, together, strict=True):
        alone = [float(student.rank([ask], [[text]])[0][0]) for text in some]
        np.testing.assert_allclose(scores, alone, atol=2e-4)


def test_a_picture_is_drawn_at_the_size_that_is_seen(student: Trainable) -> None:
    """What the processor makes of it moves no mark: it has that size already."""
    picture = Pillow.new("RGB", (320, 200), "#808080")
    view = student.look(picture, REGIONS, [], [2, 0])
    assert [region.number for region in view.regions] == [0, 1]
    sx = view.image.width / 320
    assert view.regions[0].box[0] == pytest.approx(REGIONS[2].box[0] * sx)
    if isinstance(student, Chat):
        again = student.look(view.image, [], [], [])
        assert again.image.size == view.image.size
        assert not ImageChops.difference(again.image, view.image).getbbox()


def test_coordinates_are_those_of_the_picture_that_is_seen() -> None:
    box = (10.0, 20.0, 90.0, 75.0)
    assert box_format.written(box, (200, 100), "thousandths") == [50, 200, 450, 750]
    assert box_format.written(box, (200, 100), "pixels") == [10, 20, 90, 75]
    for family in (box_format.family_of("qwen2_5_vl"), box_format.family_of("qwen3_vl")):
        back = box_format.read(box_format.written(box, (224, 140), family), (224, 140), family)
        assert back == pytest.approx(box, abs=0.6)


def test_a_chat_model_is_told_where_regions_are(tmp_path: Path) -> None:
    folder = tiny.qwen(tmp_path / "base")
    settings = TrainSettings(release="", kind="chat", model=str(folder), told="coordinates")
    student = Chat.named(str(folder), settings)
    picture = Pillow.new("RGB", (280, 140), "#808080")
    view = student.look(picture, [Region(4, (28, 14, 140, 70))], ["What is [4]?"], [4])
    assert colours(view.image) == {(128, 128, 128)}
    text = student.tokenizer.decode(student._encoded(view, view.texts[0], ())["input_ids"][0])  # noqa: SLF001 - what the model reads
    assert 'Regions: [0] {"bbox_2d": [28, 14, 140, 70]}. What is [0]?' in text
    drawn = Chat.named(str(folder), TrainSettings(release="", kind="chat", model=str(folder)))
    marked = drawn.look(picture, [Region(4, (28, 14, 140, 70))], [], [4])
    assert len(colours(marked.image)) > 2


def test_texts_that_are_too_long_are_counted(student: Trainable) -> None:
    if isinstance(student, Chat):
        pytest.skip("a chat model reads what it is given")
    long = "[0] is a lamp and " * 400
    student.loss([scene(student, 0, [("What is [0]?", long, "")])])
    assert student.notes["texts longer than the model reads"] == 1


def test_whole_models_load_without_us(make: Make, tmp_path: Path) -> None:
    student = make()
    seen = scene(student, 0)
    student.fit(Same([seen]), schedule(2, []))
    folder = tmp_path / "whole"
    student.whole(folder)
    kind = AutoModelForImageTextToText
    if type(student).__name__ == "Discriminative":
        kind = Blip2ForImageTextRetrieval
    plain = kind.from_pretrained(folder)
    assert sum(weight.numel() for weight in plain.parameters()) > 10_000


@pytest.mark.parametrize(
    ("kind", "model", "reason"),
    [
        ("generative", "{empty}", "cannot be loaded"),
        ("discriminative", "{empty}", "cannot be loaded"),
        ("chat", "{empty}", "cannot be loaded"),
        ("chat", "{blip2}", "has no chat"),
        ("generative", "{llava}", "is a llava, no BLIP-2"),
        ("chat", "tiny", "not made here"),
    ],
)
def test_a_model_that_will_not_do_is_named(
    tmp_path: Path, kind: str, model: str, reason: str
) -> None:
    (tmp_path / "empty").mkdir()
    if "blip2" in model:
        tiny.blip2(tmp_path / "blip2")
    if "llava" in model:
        tiny.llava(tmp_path / "llava")
    name = str(tmp_path / model[1:-1]) if model.startswith("{") else model
    settings = TrainSettings(release="", kind=kind, model=name)
    none: Any = None
    with pytest.raises(UserError, match=reason):
        registry.made(none, settings, none)


def test_letters_of_several_bytes_are_told_whole() -> None:
    words = tiny_blip2.train_tokenizer(["é"])
    heard: list[str] = []
    telling = Telling(words, heard.append)
    for token in words("né").input_ids:
        telling.put(torch.tensor([token]))
    assert "né" in heard
    assert not any("\ufffd" in text for text in heard)
