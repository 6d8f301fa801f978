"""From a release to batches: what is drawn, what is said of it, and in which order."""

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
from regions.view import make_view
from student.models.discriminative import is_false
from student.models.protocol import Scene
from student.models.tiny_base import tellings
from student.settings import TrainSettings
from student.training.batches import StoreLessons
from student.training.corpus import check_pictures, corpus

SETTINGS = TrainSettings(release="all", batch=8, together=4)


class Eyes:
    """As much of a student as lessons need: it looks."""

    def look(self, picture, regions, texts, shown):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        return make_view(picture, regions, texts, visible=shown, size=(64, 64))


def lessons(store: Store, settings: TrainSettings = SETTINGS) -> StoreLessons:
    with store.write() as session:
        learn = corpus(session, "all", ["train"], instructions=settings.instructions > 0)
    return StoreLessons(store, Eyes(), learn, settings)  # type: ignore[arg-type]


def a_round(made: StoreLessons, steps: int) -> list[Scene]:
    return [scene for scenes, _ in made.batches(0, steps) for scene in scenes]


def test_the_numbers_in_a_text_are_those_on_its_picture(released: Store) -> None:
    with released.read() as session:
        texts = {
            row.id: (row.question, row.answer, row.rationale)
            for row in session.scalars(select(Triple))
        }
    for scene in a_round(lessons(released), 12):
        back = dict(enumerate(scene.shown))
        assert [region.number for region in scene.view.regions] == list(back)
        for lesson in scene.lessons:
            said = [references.renumber(t, back) for t in (lesson.question, lesson.answer)]
            assert said == list(texts[lesson.key][:2])
            assert {back[number] for number, _ in lesson.about} == {n for _, n in lesson.about}


def test_each_triple_comes_once_a_round(released: Store) -> None:
    made = lessons(released)
    keys: list[int] = []
    while len(keys) < len(made._corpus):  # noqa: SLF001 - how many there are
        scenes = a_round(made, len(keys) // 4 + 4)
        keys = [lesson.key for scene in scenes for lesson in scene.lessons]
    first = keys[: len(made._corpus)]  # noqa: SLF001
    assert len(set(first)) == len(first)


def test_what_is_drawn_alike_is_drawn_once(released: Store) -> None:
    """All regions: one picture for the triples of an image; own regions: one for each set."""
    for own in (0.0, 1.0):
        made = lessons(released, replace(SETTINGS, own=own, together=99))
        for scenes, count in made.batches(0, 6):
            assert count == sum(len(scene.lessons) for scene in scenes)
            drawn = [(scene.image_id, frozenset(scene.shown)) for scene in scenes]
            assert len(set(drawn)) == len(drawn)
    seen = a_round(lessons(released, replace(SETTINGS, own=0.0)), 6)
    assert max(len(scene.lessons) for scene in seen) == SETTINGS.together


def test_own_regions_are_those_that_are_named(released: Store) -> None:
    for scene in a_round(lessons(released, replace(SETTINGS, own=1.0, rationale=1.0)), 6):
        for lesson in scene.lessons:
            said = f"{lesson.question} {lesson.answer} {lesson.rationale}"
            assert set(references.mentioned(said)) in ({*range(len(scene.shown))}, set())


def test_a_run_that_goes_on_sees_what_it_would_have_seen(released: Store) -> None:
    made = lessons(released)
    whole = list(made.batches(0, 9))
    rest = list(lessons(released).batches(5, 9))
    assert [[s.lessons for s in scenes] for scenes, _ in whole[5:]] == [
        [s.lessons for s in scenes] for scenes, _ in rest
    ]
    one, same = whole[5][0][0].view.image, rest[0][0][0].view.image
    assert one.tobytes() == same.tobytes()


def test_processes_share_a_batch(released: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(lessons(released).batches(0, 5))
    shares = []
    for rank in range(2):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", str(rank))
        shares.append(list(lessons(released).batches(0, 5)))
    for (scenes, count), *parts in zip(whole, *shares, strict=True):
        assert all(part[1] == count for part in parts)
        assert sum(len(part[0]) for part in parts) == len(scenes)
        both = {lesson.key for part in parts for scene in part[0] for lesson in scene.lessons}
        assert both == {lesson.key for scene in scenes for lesson in scene.lessons}


@pytest.fixture
def instructed(released: Store) -> Store:
    """The release, and as many conversations again."""
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


def test_instructions_are_mixed_in_at_the_share_that_is_stated(instructed: Store) -> None:
    made = lessons(instructed, replace(SETTINGS, instructions=0.5, together=2))
    scenes = list(islice((s for batch, _ in made.batches(0, 14) for s in batch), 40))
    told = [scene for scene in scenes if scene.lessons[0].key < 0]
    assert 0.25 < len(told) / len(scenes) < 0.75
    second = told[0].lessons[1]
    assert second.turns == (("What is it?", "A thing 5."),)
    assert told[0].shown == ()
    with instructed.read() as session:
        train = {s.image_id for s in scenes if s.lessons[0].key > 0}
        learned = set(session.scalars(select(Triple.image_id)))
    assert train < learned


def test_a_share_below_one_picture_a_round_is_kept_over_many(instructed: Store) -> None:
    made = lessons(instructed, replace(SETTINGS, instructions=0.02))
    scenes = a_round(made, 200)
    told = sum(scene.lessons[0].key < 0 for scene in scenes)
    assert 0.005 < told / len(scenes) < 0.04


def test_a_team_larger_than_a_round_has_a_picture_each(
    released: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 40)
    monkeypatch.setattr(distributed, "rank", lambda: 39)
    for scenes, count in lessons(released).batches(0, 3):
        assert len(scenes) == 1
        assert count >= 40


def test_a_text_is_false_where_its_numbers_are_other_regions() -> None:
    about = frozenset({(0, 7), (1, 3)})
    assert not is_false(5, about, 5, (7, 3))
    assert is_false(5, about, 5, (3, 7))
    assert is_false(5, about, 5, (7,))
    assert is_false(5, about, 6, (7, 3))
    assert not is_false(5, frozenset(), 5, (1, 2))


def test_texts_of_a_million_triples_are_not_kept(sqlite_store: Store, tmp_path: Path) -> None:
    """Of a triple two numbers are kept until it is drawn."""
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
        found = corpus(session, "all", ["train", "calibration", "test"])
    assert found.triples.nbytes + found.images.nbytes == 3000 * 16


def test_the_language_is_told_in_the_numbers_of_each_telling(released: Store) -> None:
    with released.read() as session:
        triples = list(session.scalars(select(Triple.id)))
        texts = tellings(session, triples, np.random.default_rng(0))
    for text in texts:
        told, _, rest = text.partition(". Regions ")
        listed = references.mentioned(rest.partition(". Question:")[0])
        assert listed == tuple(range(len(listed)))
        assert set(references.mentioned(rest)) <= set(listed)
        assert set(references.mentioned(told)) <= set(listed)


def test_missing_pictures_are_counted_before_anything_is_learned(
    released: Store, tmp_path: Path
) -> None:
    with released.write() as session:
        source = session.scalars(select(Source)).one()
        source.root = str(tmp_path)
        images = np.array(session.scalars(select(Image.id)).all())
    with released.read() as session, pytest.raises(UserError, match=r"and 11 more is missing"):
        check_pictures(session, images)
