"""What holds for trainable students of every kind: frozen weights, saving, answers, ranking."""

from collections.abc import Sequence
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
from student.models import box_format, freezing, registry
from student.models.chat import ChatStudent
from student.models.discriminative import DiscriminativeStudent
from student.models.generative import GenerativeStudent
from student.models.protocol import Query, TrainableStudent
from student.models.streaming import CallbackStreamer
from student.settings import TrainSettings
from student.training import initialization
from student.training.trainer import fit
from student.training.training_log import StepRecord
from tests import tiny
from tests.student.conftest import TEXTS, Make
from tests.student.examples import REGIONS, FixedBatches, fit_config, image_examples

pytestmark = pytest.mark.slow

TRAINABLE = ("query_tokens", "qformer", "language_projection", "lm_head", "logit_scale", "lora_")
TRAINABLE_FOR_MATCHING = ("embeddings.", "itm_head", "vision_projection", "text_projection")


def printable(text: str) -> str:
    """Without the invalid bytes that a random model generates."""
    return "".join(c for c in text if c.isprintable() and c != "\ufffd").strip()


def weights(student: TrainableStudent) -> dict[str, torch.Tensor]:
    return {name: w.detach().clone() for name, w in student.network.named_parameters()}


def colours(image: Pillow.Image) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.asarray(image).reshape(-1, 3).tolist()}


def losses(log: Sequence[StepRecord]) -> list[float]:
    return [record.loss for record in log if record.loss is not None]


def test_frozen_weights_do_not_change(student: TrainableStudent) -> None:
    before = weights(student)
    fit(student, FixedBatches([image_examples(student, n) for n in range(3)]), fit_config(3, []))
    changed = {n for n, w in weights(student).items() if not torch.equal(w, before[n])}
    assert changed
    trainable = (*TRAINABLE, *TRAINABLE_FOR_MATCHING)
    assert all(any(part in name for part in trainable) for name in changed)
    assert not any(
        "vision_model" in name or "language_model" in name
        for name in changed
        if "lora_" not in name
    )


def test_training_lowers_the_loss(student: TrainableStudent) -> None:
    batch, log = [image_examples(student, n) for n in range(2)], list[StepRecord]()
    fit(student, FixedBatches(batch), fit_config(24, log))
    assert np.mean(losses(log)[-4:]) < np.mean(losses(log)[:4])


def test_a_step_does_not_depend_on_the_micro_batch_size(make: Make) -> None:
    """The mean is over the examples, however many each image has."""
    if isinstance(make(), DiscriminativeStudent):
        pytest.skip("its negatives are those in memory at once, as its guide says")
    logs: list[list[StepRecord]] = []
    for micro_batch_size in (1, 8):
        student = make()
        object.__setattr__(student.settings, "micro_batch_size", micro_batch_size)
        logs.append([])
        batch = [image_examples(student, n) for n in range(3)]
        fit(student, FixedBatches(batch), fit_config(4, logs[-1]))
    split, whole = map(losses, logs)
    assert split == pytest.approx(whole, abs=1e-4)


def test_only_trained_weights_are_saved_and_they_load_onto_their_base(
    student: TrainableStudent, tmp_path: Path
) -> None:
    fit(student, FixedBatches([image_examples(student, 0)]), fit_config(2, []))
    folder = tmp_path / "saved"
    folder.mkdir()
    registry.save(student, folder)
    loaded = registry.load(folder)
    group = image_examples(student, 1)
    assert loaded.mean_loss([group]) == pytest.approx(student.mean_loss([group]), abs=1e-4)
    trainable, _ = freezing.count_parameters(student.network)
    files = [file for file in folder.glob("*.safetensors") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 4.5 * trainable + 20_000


def test_weights_trained_on_another_base_are_refused(
    student: TrainableStudent, tmp_path: Path
) -> None:
    registry.save(student, tmp_path)
    file = next(file for file in tmp_path.glob("*.safetensors"))
    saved = load_file(file)
    name = next(name for name, weight in saved.items() if weight.dim() > 1)
    wider = torch.cat([saved[name], saved[name]], dim=-1)
    save_file(saved | {name: wider.contiguous()}, file)
    with pytest.raises(UserError, match=r"use the base"):
        registry.load(tmp_path)
    file.write_bytes(b"cut off")
    with pytest.raises(UserError, match=r"cannot be read|do not fit"):
        registry.load(tmp_path)


@pytest.mark.parametrize("kind", ["generative", "discriminative"])
def test_weights_load_under_the_names_of_former_versions(kind: str, tmp_path: Path) -> None:
    """The first release saved names without `model.`; names of the matching network changed."""
    tokenizer = tiny_blip2.train_tokenizer(TEXTS)
    student: TrainableStudent
    if kind == "generative":
        student = GenerativeStudent.from_tiny_base(
            (tiny_blip2.tiny_instructblip(tokenizer, seed=0), tokenizer),
            TrainSettings(release="", kind=kind),
        )
    else:
        student = DiscriminativeStudent.from_tiny_base(
            (tiny_blip2.tiny_retrieval(tokenizer, seed=0), tokenizer),
            TrainSettings(release="", kind=kind),
        )
    registry.save(student, tmp_path)
    saved = load_file(tmp_path / freezing.WEIGHTS_FILE)
    former = {
        name.removeprefix("model.")
        .replace("lm_head.", "captioner.")
        .replace("logit_scale", "coldness"): weight
        for name, weight in saved.items()
    }
    assert former.keys() != saved.keys()
    save_file(former, tmp_path / freezing.WEIGHTS_FILE)
    loaded = registry.load(tmp_path)
    for name, weight in student.network.named_parameters():
        torch.testing.assert_close(loaded.network.get_parameter(name), weight)


def test_an_answer_refers_to_shown_regions_only(student: TrainableStudent) -> None:
    answer = student.answer(Query(image_examples(student, 0).view, None))
    assert answer.question
    if isinstance(student, GenerativeStudent):
        text = f"{answer.question} {answer.answer} {answer.rationale}"
        assert set(references.mentioned(text)) <= {0, 1, 2}


def test_an_answer_is_streamed_while_it_is_generated(student: TrainableStudent) -> None:
    texts: list[str] = []
    answer = student.answer(Query(image_examples(student, 0).view, "What is [0]?"), texts.append)
    assert texts
    assert len(set(texts)) == len(texts)
    assert printable(texts[-1]).startswith(printable(answer.answer)[:20])


def test_the_score_of_a_choice_does_not_depend_on_the_others(student: TrainableStudent) -> None:
    queries = [Query(image_examples(student, n).view, "Where is [2]?") for n in range(2)]
    choices = [["By the door.", "On the very left of it."], ["A lamp.", "A chair.", "Yes."]]
    together = student.rank(queries, choices)
    assert [len(scores) for scores in together] == [2, 3]
    for query, texts, scores in zip(queries, choices, together, strict=True):
        alone = [float(student.rank([query], [[text]])[0][0]) for text in texts]
        np.testing.assert_allclose(scores, alone, atol=2e-4)


def test_an_image_is_rendered_at_the_size_that_the_model_sees(student: TrainableStudent) -> None:
    """The processor resizes no mark: the image has its size already."""
    image = Pillow.new("RGB", (320, 200), "#808080")
    view = student.make_view(image, REGIONS, [], [2, 0])
    assert [region.number for region in view.regions] == [0, 1]
    sx = view.image.width / 320
    assert view.regions[0].box[0] == pytest.approx(REGIONS[2].box[0] * sx)
    if isinstance(student, ChatStudent):
        again = student.make_view(view.image, [], [], [])
        assert again.image.size == view.image.size
        assert not ImageChops.difference(again.image, view.image).getbbox()


def test_coordinates_are_those_of_the_resized_image() -> None:
    box = (10.0, 20.0, 90.0, 75.0)
    assert box_format.format_box(box, (200, 100), "thousandths") == [50, 200, 450, 750]
    assert box_format.format_box(box, (200, 100), "pixels") == [10, 20, 90, 75]
    for model_type in ("qwen2_5_vl", "qwen3_vl"):
        unit = box_format.coordinate_unit(model_type)
        written = box_format.format_box(box, (224, 140), unit)
        assert box_format.parse_box(written, (224, 140), unit) == pytest.approx(box, abs=0.6)


def test_a_chat_model_reads_coordinates_or_sees_marks(tmp_path: Path) -> None:
    folder = tiny.qwen(tmp_path / "base")
    settings = TrainSettings(release="", kind="chat", model=str(folder), region_input="coordinates")
    student = ChatStudent.from_pretrained(str(folder), settings)
    image = Pillow.new("RGB", (280, 140), "#808080")
    regions = [Region(4, (28, 14, 140, 70))]
    view = student.make_view(image, regions, ["What is [4]?"], [4])
    assert colours(view.image) == {(128, 128, 128)}
    ids = student._encode_prompt(view, view.texts[0], ())["input_ids"][0]  # noqa: SLF001 - what the model reads
    prompt = student.tokenizer.decode(ids)
    assert 'Regions: [0] {"bbox_2d": [28, 14, 140, 70]}. What is [0]?' in prompt
    marks = TrainSettings(release="", kind="chat", model=str(folder))
    marked = ChatStudent.from_pretrained(str(folder), marks).make_view(image, regions, [], [4])
    assert len(colours(marked.image)) > 2


def test_texts_that_are_too_long_are_counted(student: TrainableStudent) -> None:
    if isinstance(student, ChatStudent):
        pytest.skip("a chat model reads what it is given")
    long = "[0] is a lamp and " * 400
    student.mean_loss([image_examples(student, 0, [("What is [0]?", long, "")])])
    assert student.diagnostics.truncated_texts == 1


def test_merged_models_load_in_transformers_alone(make: Make, tmp_path: Path) -> None:
    student = make()
    fit(student, FixedBatches([image_examples(student, 0)]), fit_config(2, []))
    folder = tmp_path / "merged"
    student.save_merged(folder)
    model_class = AutoModelForImageTextToText
    if isinstance(student, DiscriminativeStudent):
        model_class = Blip2ForImageTextRetrieval
    model = model_class.from_pretrained(folder)
    assert sum(weight.numel() for weight in model.parameters()) > 10_000


def remove(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        file.unlink()


@pytest.mark.parametrize(
    ("kind", "model", "reason"),
    [
        ("generative", "{empty}", "cannot be loaded"),
        ("discriminative", "{empty}", "cannot be loaded"),
        ("chat", "{empty}", "cannot be loaded"),
        ("chat", "{no processor}", "it has no processor: copy processor_config.json or preproc"),
        ("chat", "{no tokenizer}", "it has no tokenizer: copy tokenizer.json"),
        ("generative", "{blip2 without tokenizer}", "it has no tokenizer"),
        ("chat", "{blip2}", "has no chat template"),
        ("generative", "{llava}", "is of type llava, not a BLIP-2"),
        ("chat", "tiny", "no tiny chat model"),
        ("caption-baseline", "tiny", "cannot be trained"),
    ],
)
def test_an_unsuitable_model_is_refused_with_the_reason(
    tmp_path: Path, kind: str, model: str, reason: str
) -> None:
    (tmp_path / "empty").mkdir()
    if "blip2" in model:
        folder = tiny.blip2(tmp_path / model[1:-1])
        if "without" in model:
            remove(folder, "tokenizer*")
    if model in {"{no processor}", "{no tokenizer}"}:
        folder = tiny.qwen(tmp_path / model[1:-1])
        remove(folder, "preprocessor*" if "processor" in model else "tokenizer*")
    if "llava" in model:
        tiny.llava(tmp_path / "llava")
    name = str(tmp_path / model[1:-1]) if model.startswith("{") else model
    settings = TrainSettings(release="", kind=kind, model=name)
    unused: Any = None
    with pytest.raises(UserError, match=reason):
        initialization.initial_student(unused, settings, unused)


def test_characters_of_several_bytes_are_streamed_whole() -> None:
    tokenizer = tiny_blip2.train_tokenizer(["é"])
    texts: list[str] = []
    streamer = CallbackStreamer(tokenizer, texts.append)
    for token in tokenizer("né").input_ids:
        streamer.put(torch.tensor([token]))
    assert "né" in texts
    assert not any("\ufffd" in text for text in texts)
