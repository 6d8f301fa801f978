"""Every kind of critic behind the same protocol: it learns, scores, is saved, and comes back."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from critic.models import registry
from critic.models.blip2 import HEADS
from critic.settings import TINY, PictureSettings, TrainSettings
from critic.thresholds.comparison import CHANCE, compare
from critic.thresholds.evaluation import FIGURES
from critic.training.train import train
from db.demo.simulated_annotators import simulate_votes
from db.schema import Score, Triple
from db.store import runs
from db.store.session import Store
from regions.errors import UserError
from tests import tiny
from tests.critic.test_blip2 import SETTINGS, new, planted


@pytest.fixture
def voted(demo_store: Store) -> Store:
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    return demo_store


def settings(kind: str, name: str = "", of: str = "") -> TrainSettings:
    return TrainSettings(kind=kind, name=name, of=of, simulated=True, resamples=20)


def looks(kind: str, folder: Path) -> PictureSettings:
    """A tiny model for each kind that looks."""
    saved = {"embeddings": tiny.clip, "vqascore": tiny.llava}
    made = {"blip2": TINY, "matching": TINY}
    model = str(saved[kind](folder)) if kind in saved else made.get(kind, "")
    return PictureSettings(model=model, epochs=1, batch=32, piece=32)


@pytest.mark.parametrize(
    "kind", ["baseline", "text", "blip2", "matching", "embeddings", "vqascore"]
)
def test_from_votes_to_scores_and_back(voted: Store, tmp_path: Path, kind: str) -> None:
    run = train(voted, settings(kind), looks=looks(kind, tmp_path / "model"))
    assert run.status == "done"
    assert run.settings["kind"] == kind
    assert run.results["scored"] == 157
    assert run.results["seconds per 1,000 triples"] > 0
    examples, _ = planted(6, seed=1)
    again = registry.load(runs.folder(voted, run.name))
    scores = again.score(examples)
    assert scores.shape == (6,)
    assert ((scores >= 0) & (scores <= 1)).all()
    np.testing.assert_allclose(registry.load(runs.folder(voted, run.name)).score(examples), scores)


def test_siglip_and_blip2_answer_too(tmp_path: Path) -> None:
    examples, verdicts = planted(12, seed=2)
    for kind, model in (
        ("embeddings", tiny.siglip(tmp_path / "siglip")),
        ("vqascore", tiny.blip2(tmp_path / "blip2")),
    ):
        critic = registry.made(settings(kind), PictureSettings(model=str(model)), examples)
        critic.fit(examples, verdicts, np.random.default_rng(0), lambda *_: None, None)
        (tmp_path / kind).mkdir()
        critic.save(tmp_path / kind)
        again = registry.load(tmp_path / kind)
        np.testing.assert_allclose(again.score(examples), critic.score(examples), atol=1e-6)


def test_text_knows_nothing_of_the_picture(voted: Store) -> None:
    """The ablation: the same words about another picture are the same to it."""
    run = train(voted, settings("text"))
    critic = registry.load(runs.folder(voted, run.name))
    examples, _ = planted(4, seed=3)
    moved = [
        type(one)(99, one.question, one.answer, one.rationale, (), one.image) for one in examples
    ]
    np.testing.assert_array_equal(critic.score(examples), critic.score(moved))


def test_an_average_is_of_runs_that_are_there(voted: Store) -> None:
    first = train(voted, settings("baseline", name="a"))
    second = train(voted, settings("text", name="b"))
    run = train(voted, settings("average", of="a, b"))
    with voted.read() as session:
        rows = session.execute(select(Score.run_id, Score.triple_id, Score.value)).all()
    by = {(run_id, triple): value for run_id, triple, value in rows}
    mean = [(by[first.id, t] + by[second.id, t]) / 2 for t in range(1, 158)]
    order = np.argsort([by[run.id, t] for t in range(1, 158)])
    assert (np.diff(np.array(mean)[order]) >= 0).all()
    with pytest.raises(UserError, match="no run named 'c'"):
        train(voted, settings("average", of="a,c"))
    with pytest.raises(UserError, match="an average of nothing"):
        train(voted, settings("average"))


def test_a_critic_that_looks_weighs_no_other(voted: Store) -> None:
    train(voted, settings("baseline", name="a"))
    with pytest.raises(UserError, match="of kind blip2 takes no --of"):
        train(voted, settings("blip2", of="a"), looks=PictureSettings(model=TINY))


def test_an_average_says_which_run_lacks_a_score(voted: Store) -> None:
    first = train(voted, settings("baseline", name="a"))
    with voted.write() as session:
        gone = session.scalars(select(Score).where(Score.run_id == first.id)).first()
        session.delete(gone)
    with pytest.raises(UserError, match=r"a says nothing of triple .* `lskd critic score --run a`"):
        train(voted, settings("average", of="a"))


def test_one_table_for_all_beside_a_random_choice(voted: Store) -> None:
    train(voted, settings("baseline", name="a"))
    train(voted, settings("text", name="b"))
    rows = compare(voted, [], resamples=50)
    assert [row["critic"] for row in rows] == ["a", "b", CHANCE]
    for row in rows[:2]:
        for figure in FIGURES:
            low, high = row[f"{figure} interval"]
            assert low <= high
        assert row["average precision"] > row["Brier"]
    assert rows[-1]["AUROC"] == pytest.approx(0.5, abs=0.15)
    assert rows[-1]["Brier"] is None
    with pytest.raises(UserError, match="no critic run named 'z'"):
        compare(voted, ["z"], resamples=5)


def test_critics_without_a_triple_in_common_are_not_compared(voted: Store) -> None:
    train(voted, settings("baseline", name="a"))
    with voted.write() as session:
        session.query(Score).delete()
        assert session.scalar(select(func.count()).select_from(Triple)) == 157
    with pytest.raises(UserError, match="no labelled test triples in common"):
        compare(voted, [], resamples=5)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("baseline.npz", b"PK not a zip"),
        ("average.json", b'{"of": ["a"]}'),
        ("blip2.json", b'{"mood": 3}'),
        ("vqascore.json", b"{"),
    ],
)
def test_a_critic_of_another_version_or_cut_off(tmp_path: Path, file: str, content: bytes) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=r"train it anew"):
        registry.load(tmp_path)


@pytest.mark.parametrize(
    ("file", "said"),
    [(HEADS, "the critic cannot be read"), ("model.safetensors", "cannot be loaded")],
)
def test_a_checkpoint_that_is_cut_off(tmp_path: Path, file: str, said: str) -> None:
    examples, _ = planted(4, seed=5)
    new(SETTINGS, examples).save(tmp_path)
    whole = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(whole[:100])
    with pytest.raises(UserError, match=said):
        registry.load(tmp_path)


@pytest.mark.parametrize(
    ("kind", "model", "said"),
    [
        ("oracle", "", "no kind 'oracle' of critic: use one of baseline"),
        ("blip2", "", "a critic that looks needs a model"),
        ("embeddings", "", "a critic that looks needs a model"),
        ("vqascore", "/nowhere", "cannot be loaded"),
        ("baseline", "tiny", "of kind baseline takes no --model: say --kind blip2"),
    ],
)
def test_a_kind_that_cannot_be(voted: Store, kind: str, model: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        train(voted, settings(kind), looks=PictureSettings(model=model))
