"""Training of the BLIP-2 critic: resuming, memory, several processes, resource estimates."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import lskd
from blip2.training.trainer import CHECKPOINT
from critic.models.blip2.model import Blip2Critic
from critic.models.blip2.network import trainable_state_dict
from critic.models.blip2.trainer import CriticTrainer, TrainingExample, TrainState
from critic.settings import TINY, ModelConfig, TrainSettings
from critic.training.train import train
from db.demo.simulated_annotators import simulate_votes
from db.schema import Run
from db.store import runs
from db.store.session import Store
from lskd_cli import cli
from regions.errors import UserError
from tests.critic.test_blip2 import SETTINGS, new, planted

pytestmark = pytest.mark.slow

THREE = replace(SETTINGS, epochs=3, image_size=48)


class Killed(BaseException):
    """Stops training without any clean-up."""


def trained_weights(critic: Blip2Critic) -> dict[str, torch.Tensor]:
    return trainable_state_dict(critic.network)


def test_training_resumes_from_a_checkpoint_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of an epoch too, with the same weights at the end."""
    monkeypatch.setattr("critic.models.blip2.trainer._CHECKPOINT_SECONDS", 0.0)
    examples, targets = planted(40, seed=0)
    whole = new(THREE, examples)
    whole.fit(examples, targets, np.random.default_rng(0))

    def stop(done: int, _: int) -> None:
        if done == 8:
            raise Killed

    killed = new(THREE, examples)
    with pytest.raises(Killed):
        killed.fit(examples, targets, np.random.default_rng(0), stop, tmp_path)
    assert (tmp_path / CHECKPOINT).is_file()
    again = new(THREE, examples)
    steps: list[int] = []
    again.fit(
        examples, targets, np.random.default_rng(0), lambda done, _: steps.append(done), tmp_path
    )
    assert steps[0] == 8  # the first step after the checkpoint
    for name, weight in trained_weights(whole).items():
        assert torch.equal(weight, trained_weights(again)[name]), name


def test_an_interrupted_run_is_resumed_as_the_same_run(
    demo_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    monkeypatch.setattr("critic.models.blip2.trainer._CHECKPOINT_SECONDS", 0.0)
    settings = TrainSettings(kind="blip2", simulated=True, resamples=20)
    config = ModelConfig(model=TINY, epochs=2, batch_size=32, micro_batch_size=32)

    def stop(done: int, _: int) -> None:
        if done == 4:
            raise Killed

    with pytest.raises(Killed):
        train(demo_store, settings, stop, config=config)
    with demo_store.read() as session:
        (broken,) = session.query(Run).filter_by(kind="critic")
        assert broken.status == "failed"
    first: list[int] = []
    run = train(demo_store, settings, lambda done, _: first.append(done), config=config)
    assert (run.id, run.status, first[0]) == (broken.id, "done", 4)
    assert not (runs.folder(demo_store, run.name) / "unfinished" / CHECKPOINT).exists()
    # Other settings or labels start another run.
    assert train(demo_store, replace(settings, seed=1), config=config).id != run.id


def test_a_killed_process_is_resumed(demo_store: Store) -> None:
    """Killed by SIGKILL, which the process cannot handle."""
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    url = demo_store.engine.url.render_as_string(hide_password=False)
    words = ["critic", "train", "--kind", "blip2", "--model", TINY, "--epochs", "6", "--simulated"]
    # Former names of options are still accepted.
    words += ["--batch", "16", "--piece", "16", "--patience", "99", "--resamples", "20"]
    command = [sys.executable, "-m", "lskd", *words, "--store", url]
    process = subprocess.Popen(command, cwd=Path(lskd.__file__).parent, stderr=subprocess.DEVNULL)
    checkpoint = runs.folder(demo_store, "critic-1") / "unfinished" / CHECKPOINT
    while not checkpoint.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    steps: list[int] = []
    settings = TrainSettings(kind="blip2", simulated=True, resamples=20)
    config = ModelConfig(model=TINY, epochs=6, batch_size=16, micro_batch_size=16, patience=99)
    run = train(demo_store, settings, lambda done, _: steps.append(done), config=config)
    assert (run.name, run.status) == ("critic-1", "done")
    assert steps[0] > 1


def test_micro_batches_are_halved_when_the_gpu_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Micro-batches are halved and the step is repeated, with the same result."""
    examples, targets = planted(16, seed=1)
    roomy = new(replace(SETTINGS, micro_batch_size=4), examples)
    roomy.fit(examples, targets, np.random.default_rng(0))
    tight = new(replace(SETTINGS, micro_batch_size=8), examples)
    loss = CriticTrainer.loss

    def full(self: CriticTrainer, micro_batch: Sequence[TrainingExample]) -> torch.Tensor:
        if len(micro_batch) > 4:
            raise torch.OutOfMemoryError  # simulated: this machine may have no GPU
        return loss(self, micro_batch)

    monkeypatch.setattr(CriticTrainer, "loss", full)
    tight.fit(examples, targets, np.random.default_rng(0))
    assert tight.diagnostics.reduced_micro_batch_size == 4
    for name, weight in trained_weights(roomy).items():
        torch.testing.assert_close(weight, trained_weights(tight)[name])


def test_no_memory_for_a_single_image_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    examples, _ = planted(4, seed=2)
    critic = new(SETTINGS, examples)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(critic.network.encoder, "encode_image", full)
    with pytest.raises(UserError, match="no room for one picture"):
        critic.score(examples)


def test_gradient_checkpointing_trains_the_same_weights() -> None:
    examples, targets = planted(16, seed=3)
    plain, checkpointed = (
        new(replace(SETTINGS, gradient_checkpointing=enabled), examples)
        for enabled in (False, True)
    )
    for critic in (plain, checkpointed):
        critic.fit(examples, targets, np.random.default_rng(0))
    for name, weight in trained_weights(plain).items():
        torch.testing.assert_close(weight, trained_weights(checkpointed)[name])


def test_bfloat16_scores_are_close_to_float32_scores() -> None:
    examples, _ = planted(8, seed=4)
    fine = new(SETTINGS, examples)
    rough = new(replace(SETTINGS, precision="bf16"), examples)
    difference = np.abs(fine.score(examples) - rough.score(examples))
    assert 0 < difference.max() < 0.05
    with pytest.raises(UserError, match="no precision 'fp8'"):
        new(replace(SETTINGS, precision="fp8"), examples).score(examples)


def make_loss_nan_in_second_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    step = CriticTrainer.step

    def failing(self: CriticTrainer, batch: Sequence[TrainingExample], state: TrainState) -> None:
        if state.epoch == 1:
            monkeypatch.setattr(CriticTrainer, "loss", lambda *_: torch.tensor(float("nan")))
        step(self, batch, state)

    monkeypatch.setattr(CriticTrainer, "step", failing)


def test_the_best_weights_are_restored_when_the_loss_is_not_finite(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    examples, targets = planted(24, seed=5)
    critic = new(replace(THREE, epochs=9), examples)
    good = new(replace(THREE, epochs=1), examples)
    good.fit(examples, targets, np.random.default_rng(0))
    make_loss_nan_in_second_epoch(monkeypatch)
    with pytest.raises(UserError, match="the loss is nan in epoch 2"):
        critic.fit(examples, targets, np.random.default_rng(0))
    for name, weight in trained_weights(good).items():
        torch.testing.assert_close(weight, trained_weights(critic)[name])


def test_the_best_weights_of_a_failed_run_are_saved_for_further_training(
    demo_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    make_loss_nan_in_second_epoch(monkeypatch)
    settings = TrainSettings(kind="blip2", simulated=True, resamples=20)
    config = ModelConfig(model=TINY, epochs=3, batch_size=32, micro_batch_size=32)
    with pytest.raises(UserError, match=r"nan in epoch 2.* the best weights are in .*critic-1"):
        train(demo_store, settings, config=config)
    folder = runs.folder(demo_store, "critic-1")
    monkeypatch.undo()
    run = train(demo_store, settings, config=replace(config, model=str(folder), epochs=1))
    assert run.results["scored_triples"] == 157


def test_two_processes_train_together(demo_store: Store) -> None:
    """Each trains on half of every batch; only the main process writes to the store."""
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    url = demo_store.engine.url.render_as_string(hide_password=False)
    words = ["critic", "train", "--kind", "blip2", "--model", TINY, "--epochs", "1", "--simulated"]
    words += [
        "--batch-size",
        "16",
        "--micro-batch-size",
        "4",
        "--resamples",
        "20",
        "--store",
        url,
        "--json",
    ]
    # What `accelerate launch` runs for several GPUs; without GPUs it starts one process only.
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "lskd"]
    done = subprocess.run(
        [sys.executable, *launch, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(lskd.__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout[done.stdout.index("{") :])
    assert results["scored_triples"] == 157
    assert results["processes"] == 2
    with demo_store.read() as session:
        assert [run.status for run in session.query(Run).filter_by(kind="critic")] == ["done"]


def test_memory_and_time_are_estimated_before_training(demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    url = demo_store.engine.url.render_as_string(hide_password=False)
    words = ["critic", "train", "--kind", "blip2", "--model", TINY, "--simulated", "--store", url]

    def forecast(*options: str) -> dict[str, float]:
        done = CliRunner().invoke(cli, [*words, "--forecast", "--json", *options])
        assert done.exit_code == 0, done.output
        estimate: dict[str, float] = json.loads(done.stdout)
        return estimate

    little = forecast("--micro-batch-size", "4", "--batch-size", "64")
    much = forecast("--micro-batch-size", "64", "--batch-size", "64")
    assert much["memory_gib"] > little["memory_gib"]
    assert little["max_steps"] == much["max_steps"] > 0
    with demo_store.read() as session:
        assert not session.query(Run).filter_by(kind="critic").count()
    other = CliRunner().invoke(
        cli, ["critic", "train", "--forecast", "--simulated", "--store", url]
    )
    assert re.search("--forecast cannot be combined with --kind baseline", other.stderr)
