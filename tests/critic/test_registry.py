"""Every kind of critic implements the same protocol: fit, score, save, load."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from critic.models import registry
from critic.models.blip2.model import HEADS_FILE
from critic.results import METRICS
from critic.settings import TINY, ModelConfig, TrainSettings
from critic.thresholds.comparison import RANDOM_BASELINE, compare_critics
from critic.training.train import train
from db.schema import Score, Triple
from db.store import runs
from db.store.results import Estimate
from db.store.session import Store
from regions.errors import UserError
from tests import tiny
from tests.critic.test_blip2 import SETTINGS, new, planted


def settings(kind: str, name: str = "", from_runs: str = "") -> TrainSettings:
    return TrainSettings(kind=kind, name=name, from_runs=from_runs, simulated=True, resamples=20)


def model_config(kind: str, folder: Path) -> ModelConfig:
    """A tiny model for each kind that sees images."""
    saved = {"embeddings": tiny.clip, "vqascore": tiny.llava}
    created = {"blip2": TINY, "matching": TINY}
    model = str(saved[kind](folder)) if kind in saved else created.get(kind, "")
    return ModelConfig(model=model, epochs=1, batch_size=32, micro_batch_size=32)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["baseline", "text", "blip2", "matching", "embeddings", "vqascore"]
)
def test_every_kind_is_trained_scored_saved_and_loaded(
    voted: Store, tmp_path: Path, kind: str
) -> None:
    run = train(voted, settings(kind), config=model_config(kind, tmp_path / "model"))
    assert run.status == "done"
    assert run.settings["kind"] == kind
    assert run.results["scored_triples"] == 157
    assert run.results["seconds_per_1000"] > 0
    examples, _ = planted(6, seed=1)
    again = registry.load(runs.folder(voted, run.name))
    scores = again.score(examples)
    assert scores.shape == (6,)
    assert ((scores >= 0) & (scores <= 1)).all()
    np.testing.assert_allclose(registry.load(runs.folder(voted, run.name)).score(examples), scores)


def test_siglip_embeddings_and_blip2_vqascore_work(tmp_path: Path) -> None:
    examples, targets = planted(12, seed=2)
    for kind, model in (
        ("embeddings", tiny.siglip(tmp_path / "siglip")),
        ("vqascore", tiny.blip2(tmp_path / "blip2")),
    ):
        critic = registry.build(settings(kind), ModelConfig(model=str(model)), examples)
        critic.fit(examples, targets, np.random.default_rng(0), lambda *_: None, None)
        (tmp_path / kind).mkdir()
        critic.save(tmp_path / kind)
        again = registry.load(tmp_path / kind)
        np.testing.assert_allclose(again.score(examples), critic.score(examples), atol=1e-6)


def test_the_text_kind_does_not_depend_on_the_image(voted: Store) -> None:
    """The text-only ablation: the same texts about another image get the same scores."""
    run = train(voted, settings("text"))
    critic = registry.load(runs.folder(voted, run.name))
    examples, _ = planted(4, seed=3)
    moved = [replace(example, image_id=99, visible_regions=()) for example in examples]
    np.testing.assert_array_equal(critic.score(examples), critic.score(moved))


def test_an_average_orders_triples_by_the_mean_score_of_existing_runs(voted: Store) -> None:
    first = train(voted, settings("baseline", name="a"))
    second = train(voted, settings("text", name="b"))
    run = train(voted, settings("average", from_runs="a, b"))
    with voted.read() as session:
        rows = session.execute(select(Score.run_id, Score.triple_id, Score.value)).all()
    scores = {(run_id, triple): value for run_id, triple, value in rows}
    means = [(scores[first.id, t] + scores[second.id, t]) / 2 for t in range(1, 158)]
    order = np.argsort([scores[run.id, t] for t in range(1, 158)])
    assert (np.diff(np.array(means)[order]) >= 0).all()
    with pytest.raises(UserError, match="no run named 'c'"):
        train(voted, settings("average", from_runs="a,c"))
    with pytest.raises(UserError, match="--kind average needs runs to average"):
        train(voted, settings("average"))


def test_from_runs_cannot_be_combined_with_a_blip2_critic(voted: Store) -> None:
    train(voted, settings("baseline", name="a"))
    with pytest.raises(UserError, match="--from-runs cannot be combined with --kind blip2"):
        train(voted, settings("blip2", from_runs="a"), config=ModelConfig(model=TINY))


def test_an_average_names_the_run_that_lacks_a_score(voted: Store) -> None:
    first = train(voted, settings("baseline", name="a"))
    with voted.write() as session:
        gone = session.scalars(select(Score).where(Score.run_id == first.id)).first()
        session.delete(gone)
    with pytest.raises(
        UserError, match=r"a has no score for triple .* `lskd critic score --run a`"
    ):
        train(voted, settings("average", from_runs="a"))


def test_critics_are_compared_with_each_other_and_a_random_baseline(voted: Store) -> None:
    train(voted, settings("baseline", name="a"))
    train(voted, settings("text", name="b"))
    rows = compare_critics(voted, [], resamples=50)
    assert [row.critic for row in rows] == ["a", "b", RANDOM_BASELINE]
    for row in rows[:2]:
        for metric in METRICS:
            estimate: Estimate = getattr(row, metric)
            assert estimate.low is not None
            assert estimate.high is not None
            assert estimate.low <= estimate.high
        assert (row.average_precision.value or 0) > (row.brier.value or 1)
    assert rows[-1].auroc.value == pytest.approx(0.5, abs=0.15)
    assert rows[-1].brier.value is None
    with pytest.raises(UserError, match="no critic run named 'z'"):
        compare_critics(voted, ["z"], resamples=5)


def test_critics_without_a_triple_in_common_are_not_compared(voted: Store) -> None:
    train(voted, settings("baseline", name="a"))
    with voted.write() as session:
        session.query(Score).delete()
        assert session.scalar(select(func.count()).select_from(Triple)) == 157
    with pytest.raises(UserError, match="no labelled test triples in common"):
        compare_critics(voted, [], resamples=5)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("baseline.npz", b"PK not a zip"),
        ("average.json", b'{"of": ["a"]}'),
        ("blip2.json", b'{"mood": 3}'),
        ("vqascore.json", b"{"),
    ],
)
def test_damaged_files_and_files_of_another_version_are_an_error(
    tmp_path: Path, file: str, content: bytes
) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match="train it again"):
        registry.load(tmp_path)


@pytest.mark.parametrize(
    ("file", "message"),
    [(HEADS_FILE, "the critic cannot be read"), ("model.safetensors", "cannot be loaded")],
)
def test_truncated_weights_are_an_error(tmp_path: Path, file: str, message: str) -> None:
    examples, _ = planted(4, seed=5)
    new(SETTINGS, examples).save(tmp_path)
    whole = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(whole[:100])
    with pytest.raises(UserError, match=message):
        registry.load(tmp_path)


@pytest.mark.parametrize(
    ("kind", "model", "message"),
    [
        ("oracle", "", "no critic of kind 'oracle': use one of baseline"),
        ("blip2", "", "a BLIP-2 critic needs a model"),
        ("embeddings", "", "--kind embeddings needs a model"),
        ("vqascore", "/nowhere", "cannot be loaded"),
        ("baseline", "tiny", "--model cannot be combined with --kind baseline: use --kind blip2"),
    ],
)
def test_an_unknown_kind_or_a_missing_model_is_an_error(
    voted: Store, kind: str, model: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(voted, settings(kind), config=ModelConfig(model=model))


@pytest.mark.parametrize(
    ("kind", "missing", "message"),
    [
        ("embeddings", "processor_config.json", "it has no processor"),
        ("embeddings", "tokenizer*", "it has no tokenizer"),
        ("vqascore", "processor_config.json", "it has no processor"),
    ],
)
def test_a_model_folder_without_a_part_is_an_error(
    tmp_path: Path, kind: str, missing: str, message: str
) -> None:
    config = model_config(kind, tmp_path / "model")
    for file in (tmp_path / "model").glob(missing):
        file.unlink()
    with pytest.raises(UserError, match=message):
        registry.build(settings(kind), config, [])
