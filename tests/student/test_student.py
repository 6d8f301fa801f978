"""The student: what it is shown, what learns and what does not, and what it says."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from sqlalchemy import insert, select

from db import pictures, records, runs
from db.schema import Image, Release, ReleaseTriple, Run, Triple
from db.session import Store
from regions import references
from regions.errors import UserError
from regions.geometry import Region
from student import prompts
from student.answer import ask
from student.blip2 import Blip2Student
from student.browse import describe
from student.data import Lessons, corpus, kept
from student.protocol import Lesson
from student.settings import TrainSettings
from student.train import train

TEXTS = [
    prompts.whole(2, "Why is [0] near [1]?", "[0] wants to sit.", "[1] is a chair."),
    prompts.whole(1, "What is [0]?", "[0] is a lamp.", "It gives light."),
] * 8
QUICK = TrainSettings(release="all", steps=4, batch=4, language_steps=4)


@pytest.fixture
def released(demo_store: Store) -> Store:
    """A release that keeps every triple of the demo."""
    with demo_store.write() as session:
        run = runs.start(session, "critic", settings={})
        release = Release(name="all", run_id=run.id, threshold=0, simulated=True, created=0)
        session.add(release)
        session.flush()
        session.execute(
            insert(ReleaseTriple),
            [
                {"release_id": release.id, "triple_id": i, "score": 1.0}
                for i in session.scalars(select(Triple.id))
            ],
        )
    return demo_store


@pytest.fixture(scope="module")
def tiny() -> Blip2Student:
    return Blip2Student.tiny(TEXTS, steps=10, seed=0, progress=lambda _: None)


def lessons(count: int = 4) -> list[Lesson]:
    rng = np.random.default_rng(0)
    return [
        Lesson(
            Pillow.fromarray(rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)),
            prompts.answering(1, "What is [0]?"),
            " [0] is a lamp. Rationale: It gives light.",
        )
        for _ in range(count)
    ]


def test_frozen_means_frozen(tiny: Blip2Student) -> None:
    before = {name: w.detach().clone() for name, w in tiny.model.named_parameters()}
    tiny.fit(iter([lessons()] * 3), steps=3, rate=1e-2, progress=lambda *_: None)
    changed = {n for n, w in tiny.model.named_parameters() if not torch.equal(w, before[n])}
    assert changed
    assert all(n.startswith(("query_tokens", "qformer.", "language_projection.")) for n in changed)


def test_it_learns(tiny: Blip2Student) -> None:
    batch = lessons()
    before = tiny.loss(batch)
    tiny.fit(iter([batch] * 20), steps=20, rate=5e-3, progress=lambda *_: None)
    assert tiny.loss(batch) < before


def test_a_loss_that_is_not_finite_stops_with_a_message() -> None:
    student = Blip2Student.tiny(TEXTS, steps=1, seed=0, progress=lambda _: None)
    with torch.no_grad():
        student.model.query_tokens.fill_(float("nan"))
    with pytest.raises(UserError, match=r"the loss is nan at step 1.*lower --rate"):
        student.fit(iter([lessons()]), steps=1, rate=1e-3, progress=lambda *_: None)


def test_only_what_learned_is_saved_and_it_loads_onto_its_base(
    tiny: Blip2Student, tmp_path: Path
) -> None:
    tiny.save(tmp_path)
    loaded = Blip2Student.load(tmp_path)
    picture = lessons(1)[0].picture
    assert (
        loaded.answer(picture, 1, "What is [0]?").answer
        == tiny.answer(picture, 1, "What is [0]?").answer
    )
    learned, frozen = tiny.parameters()
    assert (tmp_path / "learned.safetensors").stat().st_size < 5 * learned
    assert frozen > learned


def test_any_blip2_comes_by_folder(tiny: Blip2Student, tmp_path: Path) -> None:
    tiny.model.save_pretrained(tmp_path)
    tiny.tokenizer.save_pretrained(tmp_path)
    named = Blip2Student.named(str(tmp_path))
    assert named.parameters() == tiny.parameters()
    assert named.loss(lessons()) == pytest.approx(tiny.loss(lessons()), abs=1e-4)


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be loaded.*tiny"):
        Blip2Student.named(str(tmp_path))


def test_no_region_comes_out_that_is_not_shown(tiny: Blip2Student) -> None:
    picture = lessons(1)[0].picture
    found = tiny.answer(picture, 1, None)
    said = f"{found.question} {found.answer} {found.rationale}"
    assert set(references.mentioned(said)) <= {0}


def test_numbers_in_a_lesson_are_those_on_its_picture(released: Store) -> None:
    with released.write() as session:
        triples = kept(session, "all")["train"]
    made = Lessons(released, (96, 96))
    for triple in triples[:40]:
        mentioned = references.mentioned(" ".join(triple.texts))
        shown = list(reversed(mentioned))
        seen = made.view(triple, shown)
        back = dict(enumerate(shown))
        assert tuple(references.renumber(t, back) for t in seen.texts) == triple.texts
        assert seen.image.size == (96, 96)


def test_the_language_is_told_in_the_numbers_of_each_telling(released: Store) -> None:
    with released.write() as session:
        triples = kept(session, "all")["train"]
        texts = corpus(session, triples, np.random.default_rng(0))
    for text in texts:
        told, _, rest = text.partition(". Regions ")
        shown = references.mentioned(told)
        assert shown == tuple(range(len(shown)))
        assert set(references.mentioned(rest)) <= set(shown)


def test_from_a_release_to_an_answer(released: Store) -> None:
    run = train(released, QUICK)
    assert run.simulated
    assert describe(run) == (
        f"tiny · trained here on {run.results['triples']} triples of all and simulated votes, "
        "from scratch: expect little"
    )
    assert run.results["frozen weights"] > run.results["weights that learned"] > 0
    with released.read() as session:
        image = session.scalars(select(Image)).first()
        assert image is not None
        regions = records.regions_of(session, [image.id])[image.id]
    found = ask(released, pictures.load(image), [regions[2]], "What is [2] for?")
    assert found.question == "What is [2] for?"
    assert set(references.mentioned(found.answer + found.rationale)) <= {2}


def test_the_same_seed_gives_the_same_student(released: Store) -> None:
    losses = {train(released, QUICK).results["loss"] for _ in range(2)}
    assert len(losses) == 1


def test_a_run_that_breaks_leaves_no_student(
    released: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Blip2Student, "save", full)
    with pytest.raises(OSError, match="no space"):
        train(released, QUICK)
    with released.read() as session:
        run = session.scalars(select(Run).where(Run.kind == "student")).one()
        assert run.status == "failed"
        assert not runs.folder(released, run.name).exists()
        with pytest.raises(UserError, match="no student has been trained yet"):
            runs.newest(session, "student")


def test_a_release_that_is_not_there_is_named(demo_store: Store) -> None:
    with pytest.raises(UserError, match="no release named 'none'"):
        train(demo_store, TrainSettings(release="none"))


def test_asking_about_nothing_says_what_to_do(demo_store: Store) -> None:
    picture = Pillow.new("RGB", (50, 50))
    with pytest.raises(UserError, match=r"no region.*click one"):
        ask(demo_store, picture, [], "Why?")
    with pytest.raises(UserError, match=r"names region \[7\]"):
        ask(demo_store, picture, [Region(0, (0, 0, 9, 9))], "Why [7]?")
