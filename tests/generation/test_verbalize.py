"""Pictures into words by models that look: tiny ones of real architectures, on real pictures."""

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
from generation.tasks.context import briefs
from generation.verbalize import crops
from generation.verbalize.describers.answers import Answers
from generation.verbalize.describers.captions import Captions
from generation.verbalize.describers.concepts import LISTS, Concepts, read_lists
from generation.verbalize.image_text_model import LookingModel
from generation.verbalize.protocol import Describer, Item, Place
from generation.verbalize.ray_workers import on_ray
from generation.verbalize.run import verbalize
from generation.verbalize.settings import (
    AnswerSettings,
    CaptionSettings,
    ConceptSettings,
    ModelSettings,
)
from regions.errors import UserError
from regions.geometry import Region
from regions.marks import draw_scaled
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


def test_captions_of_the_whole_and_of_regions_in_two_views(
    seen: Store, blip2: ModelSettings
) -> None:
    run = verbalize(seen, Captions(blip2, CaptionSettings(longest=6)))
    assert run.results["texts"] == 5 + 2 * (1 + 2 + 3 + 4)
    with seen.read() as session:
        rows = session.scalars(select(Verbalization).where(Verbalization.run_id == run.id)).all()
        views = {(row.kind, row.version.rpartition("-")[2]) for row in rows}
        assert views == {("scene", "whole"), ("region", "mark"), ("region", "crop")}
        assert {row.model for row in rows} == {blip2.model}
        (brief,) = briefs(session, [5])
        assert len(brief.scene) == 1
        assert [len(texts) for texts in brief.by_region.values()] == [2, 2, 2, 2]


def test_a_model_writes_what_its_library_writes(blip2: ModelSettings) -> None:
    """Asked one by one, without padding: the batch must not change a word."""
    pictures = [PIL.Image.new("RGB", (50, 40), (60 * n, 90, 20)) for n in range(3)]
    asked = ["what is it?", "", "is this a dog on a mat?"]
    written = LookingModel(blip2).write(pictures, asked, 5)
    model = AutoModelForImageTextToText.from_pretrained(blip2.model).eval()
    processor = AutoProcessor.from_pretrained(blip2.model)
    for picture, words, text in zip(pictures, asked, written, strict=True):
        prompt = f"Question: {words} Answer:" if words else ""
        encoded = processor(images=picture, text=prompt, return_tensors="pt")
        made = model.generate(**encoded, max_new_tokens=5, do_sample=False)
        new = made[0, encoded["input_ids"].shape[1] :]
        expected = processor.decode(new, skip_special_tokens=True)
        assert text == " ".join(expected.split())


def test_a_model_with_a_chat_is_asked_in_it(seen: Store, llava: ModelSettings) -> None:
    describer = Captions(llava, CaptionSettings(views="whole", longest=6))
    assert verbalize(seen, describer).results["texts"] == 5
    assert LookingModel(llava).chats


def test_open_questions_are_answered(seen: Store, blip2: ModelSettings) -> None:
    run = verbalize(seen, Answers(blip2, AnswerSettings(longest=5)))
    assert run.results["texts"] == 1
    with seen.read() as session:
        answer = session.scalars(select(Verbalization).where(Verbalization.run_id == run.id)).one()
        assert (answer.text, answer.region_number, answer.model) == (
            "What is [1]?",
            1,
            blip2.model,
        )
        (brief,) = briefs(session, [3])
        assert brief.questions == [("What is [1]?", answer.answer)]
        assert brief.open == [("What is [1]?", 1)]
    again = verbalize(seen, Answers(blip2, AnswerSettings(longest=5)))
    assert again.results["texts"] == 0


@pytest.mark.parametrize("kind", [tiny.clip, tiny.siglip])
def test_concepts_have_the_scores_that_the_model_gives(
    seen: Store, lists: ConceptSettings, tmp_path: Path, kind: object
) -> None:
    folder = kind(tmp_path / "model")  # type: ignore[operator]
    settings = ModelSettings(str(folder), device="cpu", batch_size=2)
    assert verbalize(seen, Concepts(settings, lists)).results["texts"] == 5 * len(CONCEPTS)
    model = AutoModel.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    told = {text for _, kind, _, text, *_ in texts_of(seen) if kind == "concept"}
    with seen.read() as session:
        image = session.get_one(Image, 4)
    picture = PIL.Image.open(Path(image.source.root) / image.name).convert("RGB")
    padding = "max_length" if kind is tiny.siglip else True
    with torch.inference_mode():
        logits = model(
            **processor(
                text=[f"a photo of {c}" for c in CONCEPTS["things"]],
                images=picture,
                return_tensors="pt",
                padding=padding,
            )
        ).logits_per_image[0]
    scores = logits.sigmoid() if kind is tiny.siglip else logits.softmax(0)
    best = scores.topk(2)
    words = ", ".join(
        f"{CONCEPTS['things'][i]} ({score:.2f})"
        for score, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    )
    assert f"things: {words}" in told


def test_what_is_there_is_not_described_again(seen: Store, blip2: ModelSettings) -> None:
    """A new region is described; nothing else is looked at."""
    settings = CaptionSettings(views="crop", longest=4)
    verbalize(seen, Captions(blip2, settings))
    before = texts_of(seen)
    assert verbalize(seen, Captions(blip2, settings)).results == {"images": 5, "texts": 0}
    with seen.write() as session:
        session.add(ImageRegion(image_id=1, number=0, x1=1, y1=1, x2=9, y2=9))
    assert verbalize(seen, Captions(blip2, settings)).results["texts"] == 1
    assert set(before) < set(texts_of(seen))


class _Breaks(Captions):
    """Loses its power with the third batch."""

    calls = 0

    def describe(
        self, items: Sequence[Item], pictures: Sequence[PIL.Image.Image]
    ) -> list[Mapping[Place, str]]:
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return super().describe(items, pictures)


def test_a_run_that_was_stopped_goes_on(seen: Store, blip2: ModelSettings) -> None:
    settings = CaptionSettings(longest=4)
    with pytest.raises(KeyboardInterrupt):
        verbalize(seen, _Breaks(blip2, settings))
    left = len(texts_of(seen))
    assert left > 1
    done = verbalize(seen, Captions(blip2, settings))
    assert left + done.results["texts"] == 1 + 5 + 2 * (1 + 2 + 3 + 4)
    with seen.read() as session:
        statuses = session.scalars(select(Run.status).order_by(Run.id)).all()
    assert statuses == ["failed", "done"]


def test_a_picture_that_cannot_be_read_is_counted(seen: Store, blip2: ModelSettings) -> None:
    with seen.read() as session:
        root = Path(session.get_one(Source, 1).root)
    (root / "2.png").unlink()
    (root / "4.png").write_bytes(b"no picture")
    run = verbalize(seen, Captions(blip2, CaptionSettings(views="whole", longest=4)))
    assert run.results["texts"] == 3
    assert run.results["pictures that cannot be read"] == 2
    assert "s/2.png" in run.results["for instance"]
    for n in (1, 3, 5):
        (root / f"{n}.png").unlink()
    with pytest.raises(UserError, match="no picture can be read"):
        verbalize(seen, Captions(blip2, CaptionSettings(views="whole", longest=5)))


def test_a_cluster_writes_the_same(seen: Store, blip2: ModelSettings) -> None:
    """Ray on this machine: two workers, each with a model of its own."""
    settings = CaptionSettings(longest=5)
    here = verbalize(seen, Captions(blip2, settings))
    alone = texts_of(seen)
    with seen.write() as session:
        for row in session.scalars(select(Verbalization).where(Verbalization.run_id == here.id)):
            session.delete(row)
    there = verbalize(seen, Captions(blip2, settings), work=on_ray(2))
    assert there.results == here.results
    assert texts_of(seen) == alone


def test_a_batch_that_is_too_large_for_the_gpu_is_halved(
    blip2: ModelSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    looking = LookingModel(replace(blip2, batch_size=8))
    write = looking._write  # noqa: SLF001 - the one place that fills the memory

    def little_room(pictures: Sequence[PIL.Image.Image], *rest: object) -> list[str]:
        sizes.append(len(pictures))
        if len(pictures) > 2:
            raise torch.cuda.OutOfMemoryError
        return write(pictures, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(looking, "_write", little_room)
    pictures = [PIL.Image.new("RGB", (9, 9))] * 5
    assert len(looking.write(pictures, ["what?"] * 5, 3)) == 5
    assert sizes == [5, 4, 2, 2, 1]


def test_what_a_model_is_shown_of_a_region() -> None:
    picture = PIL.Image.new("RGB", (2000, 1000))
    region = Region(7, (10.0, 20.0, 110.0, 60.0))
    assert crops.cut_out(picture, region).size == (121, 57)
    assert crops.cut_out(picture, Region(0, (1998.0, 998.0, 2000.0, 1000.0))).size == (10, 10)
    shown = draw_scaled(picture, [region], 1024)
    assert shown.size == (1024, 512)
    assert len(set(shown.get_flattened_data())) > 2
    assert image_files.to_data_url(shown).startswith("data:image/jpeg;base64,/9j/")


def test_a_describer_can_be_sent_to_another_machine(
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


def test_the_lists_that_come_along() -> None:
    lists = read_lists(LISTS)
    assert set(lists) == {"activities", "objects", "scenes"}
    for concepts in lists.values():
        assert len(concepts) == len(set(concepts)) > 200


def test_the_run_says_where_it_runs(blip2: ModelSettings) -> None:
    stated = Captions(blip2, CaptionSettings()).stated()
    assert "on the CPU" in stated
    assert "at most 2 pictures at once" in stated


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "/nowhere/at/all"}, "no model '/nowhere/at/all'"),
        ({"device": "cuda:9"}, "no device 'cuda:9' here"),
        ({"device": "tpu"}, "no device 'tpu' here"),
        ({"batch_size": -1}, "-1 pictures at once"),
    ],
)
def test_a_model_that_cannot_be_had(
    blip2: ModelSettings, change: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        Captions(replace(blip2, **change), CaptionSettings())  # type: ignore[arg-type]


def test_a_model_of_another_kind(tmp_path: Path, lists: ConceptSettings) -> None:
    clip = ModelSettings(str(tiny.clip(tmp_path / "clip")), device="cpu")
    with pytest.raises(UserError, match="does not write about pictures: clip"):
        Captions(clip, CaptionSettings())
    with pytest.raises(UserError, match="no views 'side'"):
        Captions(clip, CaptionSettings(views="side"))
    with pytest.raises(UserError, match="no such folder of concepts"):
        Concepts(clip, replace(lists, lists="/nowhere"))
