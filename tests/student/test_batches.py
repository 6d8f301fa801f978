"""From a release to batches: which regions are drawn, which texts belong to them, which order."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from sqlalchemy import select

from blip2.training import distributed
from db.schema import Image, ImageRegion, Instruction, Source, Triple
from db.store.session import Store
from regions import references
from regions.errors import UserError
from regions.geometry import Region
from regions.view import View, make_view
from student.models.discriminative import is_negative
from student.models.protocol import ImageExamples
from student.settings import TrainSettings
from student.training.batches import BatchLoader
from student.training.corpus import check_images_exist, load_corpus
from student.training.tiny_base import pretraining_texts

SETTINGS = TrainSettings(release="all", batch_size=8, triples_per_image=4)


class Renderer:
    """As much of a student as a batch loader needs."""

    def make_view(
        self,
        image: Pillow.Image,
        regions: Sequence[Region],
        texts: Sequence[str],
        visible_regions: Sequence[int],
    ) -> View:
        return make_view(image, regions, texts, visible=visible_regions, size=(64, 64))


def make_loader(store: Store, settings: TrainSettings = SETTINGS) -> BatchLoader:
    with store.write() as session:
        corpus = load_corpus(session, "all", ["train"], instructions=settings.instruction_share > 0)
    return BatchLoader(store, Renderer(), corpus, settings)  # type: ignore[arg-type]


def groups_of(loader: BatchLoader, steps: int) -> list[ImageExamples]:
    return [group for batch, _ in loader.batches(0, steps) for group in batch]


def test_the_numbers_in_a_text_are_those_on_its_image(released: Store) -> None:
    with released.read() as session:
        texts = {
            row.id: (row.question, row.answer, row.rationale)
            for row in session.scalars(select(Triple))
        }
    for group in groups_of(make_loader(released), 12):
        original = dict(enumerate(group.visible_regions))
        assert [region.number for region in group.view.regions] == list(original)
        for example in group.examples:
            restored = [
                references.renumber(text, original) for text in (example.question, example.answer)
            ]
            assert restored == list(texts[example.key][:2])
            assert {original[number] for number, _ in example.region_map} == {
                region for _, region in example.region_map
            }


def test_each_triple_comes_once_per_epoch(released: Store) -> None:
    loader = make_loader(released)
    keys: list[int] = []
    while len(keys) < len(loader._corpus):  # noqa: SLF001 - its size
        groups = groups_of(loader, len(keys) // 4 + 4)
        keys = [example.key for group in groups for example in group.examples]
    epoch = keys[: len(loader._corpus)]  # noqa: SLF001
    assert len(set(epoch)) == len(epoch)


def test_examples_with_the_same_regions_share_a_drawing(released: Store) -> None:
    """All regions: one drawing per image; own regions: one per set of regions."""
    for p_own_regions in (0.0, 1.0):
        settings = replace(SETTINGS, p_own_regions=p_own_regions, triples_per_image=99)
        for batch, count in make_loader(released, settings).batches(0, 6):
            assert count == sum(len(group.examples) for group in batch)
            drawings = [(group.image_id, frozenset(group.visible_regions)) for group in batch]
            assert len(set(drawings)) == len(drawings)
    groups = groups_of(make_loader(released, replace(SETTINGS, p_own_regions=0.0)), 6)
    assert max(len(group.examples) for group in groups) == SETTINGS.triples_per_image


def test_own_regions_are_those_that_a_triple_mentions(released: Store) -> None:
    settings = replace(SETTINGS, p_own_regions=1.0, p_rationale=1.0)
    for group in groups_of(make_loader(released, settings), 6):
        for example in group.examples:
            text = f"{example.question} {example.answer} {example.rationale}"
            shown = {*range(len(group.visible_regions))}
            assert set(references.mentioned(text)) in (shown, set())


def test_a_resumed_run_gets_the_same_batches(released: Store) -> None:
    whole = list(make_loader(released).batches(0, 9))
    resumed = list(make_loader(released).batches(5, 9))
    assert [[group.examples for group in batch] for batch, _ in whole[5:]] == [
        [group.examples for group in batch] for batch, _ in resumed
    ]
    first, same = whole[5][0][0].view.image, resumed[0][0][0].view.image
    assert first.tobytes() == same.tobytes()


def test_processes_share_a_batch(released: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(make_loader(released).batches(0, 5))
    shares = []
    for rank in range(2):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", str(rank))
        shares.append(list(make_loader(released).batches(0, 5)))
    for (batch, count), *parts in zip(whole, *shares, strict=True):
        assert all(part_count == count for _, part_count in parts)
        assert sum(len(part) for part, _ in parts) == len(batch)
        both = {e.key for part, _ in parts for group in part for e in group.examples}
        assert both == {e.key for group in batch for e in group.examples}


@pytest.fixture
def instructed(released: Store) -> Store:
    """The release, and 40 conversations."""
    with released.write() as session:
        images = session.scalars(select(Image.id)).all()
        session.add_all(
            Instruction(
                key=f"{n:064}",
                image_id=images[n % len(images)],
                kind="conversation",
                turns=[["What is it?", "A thing [5]."], ["And then?", "No more."]],
                model="m",
                prompt_version="1",
            )
            for n in range(40)
        )
    return released


def test_instructions_have_the_share_that_is_set(instructed: Store) -> None:
    loader = make_loader(instructed, replace(SETTINGS, instruction_share=0.5, triples_per_image=2))
    groups = list(islice((group for batch, _ in loader.batches(0, 14) for group in batch), 40))
    instructions = [group for group in groups if group.examples[0].key < 0]
    assert 0.25 < len(instructions) / len(groups) < 0.75
    second = instructions[0].examples[1]
    assert second.turns == (("What is it?", "A thing 5."),)
    assert instructions[0].visible_regions == ()
    with instructed.read() as session:
        train = {group.image_id for group in groups if group.examples[0].key > 0}
        with_triples = set(session.scalars(select(Triple.image_id)))
    assert train < with_triples


def test_a_share_below_one_image_per_epoch_holds_over_many_epochs(instructed: Store) -> None:
    loader = make_loader(instructed, replace(SETTINGS, instruction_share=0.02))
    groups = groups_of(loader, 200)
    instructions = sum(group.examples[0].key < 0 for group in groups)
    assert 0.005 < instructions / len(groups) < 0.04


def test_with_more_processes_than_drawings_each_has_one(
    released: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 40)
    monkeypatch.setattr(distributed, "rank", lambda: 39)
    for batch, count in make_loader(released).batches(0, 3):
        assert len(batch) == 1
        assert count >= 40


def test_a_text_is_a_negative_where_its_numbers_are_other_regions() -> None:
    region_map = frozenset({(0, 7), (1, 3)})
    assert not is_negative(5, region_map, 5, (7, 3))
    assert is_negative(5, region_map, 5, (3, 7))
    assert is_negative(5, region_map, 5, (7,))
    assert is_negative(5, region_map, 6, (7, 3))
    assert not is_negative(5, frozenset(), 5, (1, 2))


def test_a_corpus_holds_two_numbers_per_triple(sqlite_store: Store, tmp_path: Path) -> None:
    """Texts of a million triples are never in memory together."""
    Pillow.new("RGB", (20, 20)).save(tmp_path / "a.png")
    with sqlite_store.write() as session:
        session.add(Source(id=1, name="s", root=str(tmp_path)))
        session.flush()
        session.add(Image(id=1, source_id=1, name="a.png", width=20, height=20))
        session.flush()
        session.add(ImageRegion(image_id=1, number=0, x1=1, y1=1, x2=9, y2=9))
        session.flush()
        session.add_all(
            Triple(
                key=f"{n:064}",
                image_id=1,
                question="What is [0]?",
                answer="It.",
                rationale="So.",
                visible_regions=[0],
                source="s",
                model="m",
                prompt_version="1",
            )
            for n in range(3000)
        )
    from tests.student.conftest import keep_all

    keep_all(sqlite_store)
    with sqlite_store.write() as session:
        corpus = load_corpus(session, "all", ["train", "calibration", "test"])
    assert corpus.triple_ids.nbytes + corpus.image_ids.nbytes == 3000 * 16


def test_pretraining_texts_use_the_numbers_of_their_own_regions(released: Store) -> None:
    with released.read() as session:
        triple_ids = list(session.scalars(select(Triple.id)))
        texts = pretraining_texts(session, triple_ids, np.random.default_rng(0))
    for text in texts:
        context, _, rest = text.partition(". Regions ")
        listed = references.mentioned(rest.partition(". Question:")[0])
        assert listed == tuple(range(len(listed)))
        assert set(references.mentioned(rest)) <= set(listed)
        assert set(references.mentioned(context)) <= set(listed)


def test_missing_images_are_counted_before_training(released: Store, tmp_path: Path) -> None:
    with released.write() as session:
        source = session.scalars(select(Source)).one()
        source.root = str(tmp_path)
        image_ids = np.array(session.scalars(select(Image.id)).all())
    with (
        released.read() as session,
        pytest.raises(UserError, match=r"demo are not at their place|all 12 images are missing"),
    ):
        check_images_exist(session, image_ids)


def test_an_unreadable_image_costs_its_triples(released: Store) -> None:
    """Damaged after the training has begun: the batches go on without it."""
    with released.write() as session:
        corpus = load_corpus(session, "all", ["train"])
        image_id = int(corpus.image_ids[0])
        session.get_one(Image, image_id).name += ".gone"
    loader = make_loader(released)
    batches = list(loader.batches(0, 6))
    assert all(batch for batch, _ in batches)
    assert all(count == sum(len(group.examples) for group in batch) for batch, count in batches)
    assert image_id not in {group.image_id for batch, _ in batches for group in batch}
    assert list(loader.unreadable) == [image_id]
    assert ".gone" in loader.unreadable[image_id]
