"""Describers with tiny models of real architectures, on real images."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest
import torch
from sqlalchemy import select
from transformers import AutoModel, AutoModelForImageTextToText, AutoProcessor

from db.images import image_files
from db.schema import Image, ImageRegion, Run, Source, Verbalization
from db.store.session import Store
from generation.tasks.context import load_contexts
from generation.verbalize.crops import crop_region
from generation.verbalize.describers.answers import Answers
from generation.verbalize.describers.captions import Captions
from generation.verbalize.describers.concepts import CONCEPT_LISTS, Concepts, read_lists
from generation.verbalize.image_text_model import ImageTextModel
from generation.verbalize.protocol import Describer, DescriberInput, Target
from generation.verbalize.ray_workers import ray_runner
from generation.verbalize.run import verbalize
from generation.verbalize.settings import (
    AnswerSettings,
    CaptionSettings,
    ConceptSettings,
    ModelSettings,
)
from regions.errors import UserError
from regions.geometry import Region, fit_within
from regions.marks import draw_regions
from tests import tiny

CONCEPTS = {"scenes": ["beach", "kitchen"], "things": ["dog", "cat", "mat"]}


@pytest.fixture(scope="module")
def blip2(tmp_path_factory: pytest.TempPathFactory) -> ModelSettings:
    folder = tiny.blip2(tmp_path_factory.mktemp("models") / "blip2")
    return ModelSettings(str(folder), device="cpu", batch_size=2)


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> ModelSettings:
    folder = tiny.llava(tmp_path_factory.mktemp("models") / "llava")
    return ModelSettings(str(folder), device="cpu", batch_size=2)


@pytest.fixture
def lists(tmp_path: Path) -> ConceptSettings:
    for name, concepts in CONCEPTS.items():
        (tmp_path / f"{name}.txt").write_text("# a remark\n" + "\n".join(concepts), "utf-8")
    return ConceptSettings(lists=str(tmp_path), top=2)


def texts_of(store: Store) -> list[tuple[object, ...]]:
    with store.read() as session:
        columns = ("image_id", "kind", "region_number", "text", "answer", "model", "version")
        rows = session.execute(
            select(*(getattr(Verbalization, name) for name in columns)).order_by(
                Verbalization.image_id, Verbalization.version, Verbalization.region_number
            )
        ).all()
        return [tuple(row) for row in rows]


def test_captions_of_images_and_of_regions_in_two_views(
    image_store: Store, blip2: ModelSettings
) -> None:
    run = verbalize(image_store, Captions(blip2, CaptionSettings(max_new_tokens=6)))
    assert run.results["texts"] == 5 + 2 * (1 + 2 + 3 + 4)
    with image_store.read() as session:
        rows = session.scalars(select(Verbalization).where(Verbalization.run_id == run.id)).all()
        views = {(row.kind, row.version.rpartition("-")[2]) for row in rows}
        assert views == {("scene", "whole"), ("region", "mark"), ("region", "crop")}
        assert {row.model for row in rows} == {blip2.model}
        (context,) = load_contexts(session, [5])
        assert len(context.scene_texts) == 1
        assert [len(texts) for texts in context.region_texts.values()] == [2, 2, 2, 2]


def test_batched_captions_equal_those_of_single_calls(blip2: ModelSettings) -> None:
    """Single calls have no padding, so padding in a batch must not change a word."""
    images = [PIL.Image.new("RGB", (50, 40), (60 * n, 90, 20)) for n in range(3)]
    questions = ["what is it?", "", "is this a dog on a mat?"]
    texts = ImageTextModel(blip2).generate(images, questions, 5)
    model = AutoModelForImageTextToText.from_pretrained(blip2.model).eval()
    processor = AutoProcessor.from_pretrained(blip2.model)
    for image, question, text in zip(images, questions, texts, strict=True):
        prompt = f"Question: {question} Answer:" if question else ""
        encoded = processor(images=image, text=prompt, return_tensors="pt")
        output = model.generate(**encoded, max_new_tokens=5, do_sample=False)
        new_tokens = output[0, encoded["input_ids"].shape[1] :]
        expected = processor.decode(new_tokens, skip_special_tokens=True)
        assert text == " ".join(expected.split())


def test_a_chat_model_is_prompted_by_its_chat_template(
    image_store: Store, llava: ModelSettings
) -> None:
    describer = Captions(llava, CaptionSettings(views="whole", max_new_tokens=6))
    assert verbalize(image_store, describer).results["texts"] == 5
    assert ImageTextModel(llava).is_chat


def test_open_questions_are_answered(image_store: Store, blip2: ModelSettings) -> None:
    run = verbalize(image_store, Answers(blip2, AnswerSettings(max_new_tokens=5)))
    assert run.results["texts"] == 1
    with image_store.read() as session:
        answer = session.scalars(select(Verbalization).where(Verbalization.run_id == run.id)).one()
        assert (answer.text, answer.region_number, answer.model) == (
            "What is [1]?",
            1,
            blip2.model,
        )
        (context,) = load_contexts(session, [3])
        assert context.answered_questions == [("What is [1]?", answer.answer)]
        assert context.open_questions == [("What is [1]?", 1)]
    again = verbalize(image_store, Answers(blip2, AnswerSettings(max_new_tokens=5)))
    assert again.results["texts"] == 0


@pytest.mark.parametrize("kind", [tiny.clip, tiny.siglip])
def test_concepts_have_the_scores_of_the_model(
    image_store: Store, lists: ConceptSettings, tmp_path: Path, kind: object
) -> None:
    folder = kind(tmp_path / "model")  # type: ignore[operator]
    settings = ModelSettings(str(folder), device="cpu", batch_size=2)
    assert verbalize(image_store, Concepts(settings, lists)).results["texts"] == 5 * len(CONCEPTS)
    model = AutoModel.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    texts = {text for _, kind, _, text, *_ in texts_of(image_store) if kind == "concept"}
    with image_store.read() as session:
        image = session.get_one(Image, 4)
    pixels = PIL.Image.open(Path(image.source.root) / image.name).convert("RGB")
    padding = "max_length" if kind is tiny.siglip else True
    with torch.inference_mode():
        logits = model(
            **processor(
                text=[f"a photo of {c}" for c in CONCEPTS["things"]],
                images=pixels,
                return_tensors="pt",
                padding=padding,
            )
        ).logits_per_image[0]
    scores = logits.sigmoid() if kind is tiny.siglip else logits.softmax(0)
    best = scores.topk(2)
    expected = ", ".join(
        f"{CONCEPTS['things'][i]} ({score:.2f})"
        for score, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    )
    assert f"things: {expected}" in texts


def test_only_new_regions_are_described(image_store: Store, blip2: ModelSettings) -> None:
    settings = CaptionSettings(views="crop", max_new_tokens=4)
    verbalize(image_store, Captions(blip2, settings))
    before = texts_of(image_store)
    assert verbalize(image_store, Captions(blip2, settings)).results == {
        "images": 5,
        "texts": 0,
        "empty_texts": 0,
        "unreadable_images": 0,
        "unreadable_example": None,
    }
    with image_store.write() as session:
        session.add(ImageRegion(image_id=1, number=0, x1=1, y1=1, x2=9, y2=9))
    assert verbalize(image_store, Captions(blip2, settings)).results["texts"] == 1
    assert set(before) < set(texts_of(image_store))


class _Interrupted(Captions):
    """Is interrupted in its third batch."""

    calls = 0

    def describe(
        self, items: Sequence[DescriberInput], images: Sequence[PIL.Image.Image]
    ) -> list[Mapping[Target, str]]:
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return super().describe(items, images)


def test_a_stopped_run_is_resumed(image_store: Store, blip2: ModelSettings) -> None:
    settings = CaptionSettings(max_new_tokens=4)
    with pytest.raises(KeyboardInterrupt):
        verbalize(image_store, _Interrupted(blip2, settings))
    n_before = len(texts_of(image_store))
    assert n_before > 1
    run = verbalize(image_store, Captions(blip2, settings))
    assert n_before + run.results["texts"] == 1 + 5 + 2 * (1 + 2 + 3 + 4)
    with image_store.read() as session:
        statuses = session.scalars(select(Run.status).order_by(Run.id)).all()
    assert statuses == ["failed", "done"]


def test_unreadable_images_are_counted(image_store: Store, blip2: ModelSettings) -> None:
    with image_store.read() as session:
        root = Path(session.get_one(Source, 1).root)
    (root / "2.png").unlink()
    (root / "4.png").write_bytes(b"no picture")
    run = verbalize(image_store, Captions(blip2, CaptionSettings(views="whole", max_new_tokens=4)))
    assert run.results["texts"] == 3
    assert run.results["unreadable_images"] == 2
    assert "s/2.png" in run.results["unreadable_example"]
    for n in (1, 3, 5):
        (root / f"{n}.png").unlink()
    with pytest.raises(UserError, match="no image can be read"):
        verbalize(image_store, Captions(blip2, CaptionSettings(views="whole", max_new_tokens=5)))


@pytest.mark.slow
def test_ray_workers_write_the_same_texts(image_store: Store, blip2: ModelSettings) -> None:
    """Two workers on this machine, each with its own copy of the model."""
    settings = CaptionSettings(max_new_tokens=5)
    local = verbalize(image_store, Captions(blip2, settings))
    texts = texts_of(image_store)
    with image_store.write() as session:
        for row in session.scalars(select(Verbalization).where(Verbalization.run_id == local.id)):
            session.delete(row)
    on_ray = verbalize(image_store, Captions(blip2, settings), run_batches=ray_runner(2))
    assert on_ray.results == local.results
    assert texts_of(image_store) == texts


def test_a_batch_that_does_not_fit_is_halved(
    blip2: ModelSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    model = ImageTextModel(replace(blip2, batch_size=8))
    generate = model._generate  # noqa: SLF001 - the function that runs out of memory

    def limited_memory(images: Sequence[PIL.Image.Image], *rest: object) -> list[str]:
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.cuda.OutOfMemoryError
        return generate(images, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "_generate", limited_memory)
    images = [PIL.Image.new("RGB", (9, 9))] * 5
    assert len(model.generate(images, ["what?"] * 5, 3)) == 5
    assert sizes == [5, 4, 2, 2, 1]


def test_crops_and_marked_images_of_a_region() -> None:
    image = PIL.Image.new("RGB", (2000, 1000))
    region = Region(7, (10.0, 20.0, 110.0, 60.0))
    assert crop_region(image, region).size == (121, 57)
    assert crop_region(image, Region(0, (1998.0, 998.0, 2000.0, 1000.0))).size == (10, 10)
    marked = draw_regions(image, [region], size=fit_within(*image.size, 1024))
    assert marked.size == (1024, 512)
    assert len(set(marked.get_flattened_data())) > 2
    assert image_files.to_data_url(marked).startswith("data:image/jpeg;base64,/9j/")


def test_describers_can_be_pickled(
    blip2: ModelSettings, lists: ConceptSettings, tmp_path: Path
) -> None:
    clip = ModelSettings(str(tiny.clip(tmp_path / "clip")), device="cpu")
    describers: list[Describer] = [
        Captions(blip2, CaptionSettings()),
        Answers(blip2, AnswerSettings()),
        Concepts(clip, lists),
    ]
    for describer in describers:
        there = pickle.loads(pickle.dumps(describer))
        assert (there.model, there.version) == (describer.model, describer.version)


def test_the_included_concept_lists() -> None:
    lists = read_lists(CONCEPT_LISTS)
    assert set(lists) == {"activities", "objects", "scenes"}
    for concepts in lists.values():
        assert len(concepts) == len(set(concepts)) > 200


def test_the_device_summary_names_device_and_batch_size(blip2: ModelSettings) -> None:
    summary = Captions(blip2, CaptionSettings()).device_summary()
    assert "on the CPU" in summary
    assert "at most 2 images per batch" in summary


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "/nowhere/at/all"}, "the model '/nowhere/at/all' cannot be loaded"),
        ({"device": "cuda:9"}, "no device 'cuda:9' here"),
        ({"device": "tpu"}, "no device 'tpu' here"),
        ({"batch_size": -1}, "the batch size must not be negative \\(got -1\\)"),
    ],
)
def test_an_unavailable_model_or_device_is_a_user_error(
    blip2: ModelSettings, change: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Captions(replace(blip2, **change), CaptionSettings())  # type: ignore[arg-type]


def test_invalid_models_and_settings_are_user_errors(
    tmp_path: Path, lists: ConceptSettings
) -> None:
    clip = ModelSettings(str(tiny.clip(tmp_path / "clip")), device="cpu")
    with pytest.raises(UserError, match=r"\(clip\) is not an image-text-to-text model"):
        Captions(clip, CaptionSettings())
    with pytest.raises(UserError, match="unknown views 'side'"):
        Captions(clip, CaptionSettings(views="side"))
    with pytest.raises(UserError, match="no such folder of concepts"):
        Concepts(clip, replace(lists, lists="/nowhere"))
