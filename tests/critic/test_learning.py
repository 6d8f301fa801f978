"""Learning that is stopped, short of memory, shared among processes, or foreseen."""

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
from critic.models.blip2 import Blip2Critic
from critic.models.network import state
from critic.settings import TINY, PictureSettings, TrainSettings
from critic.training.train import train
from critic.training.trainer import Lesson, Standing, Teacher
from db.demo.simulated_annotators import simulate_votes
from db.schema import Run
from db.store import runs
from db.store.session import Store
from lskd_cli import cli
from regions.errors import UserError
from tests.critic.test_blip2 import SETTINGS, new, planted

THREE = replace(SETTINGS, epochs=3, size=48)


class Killed(BaseException):
    """What a kill leaves: nothing more is done."""


def learned(critic: Blip2Critic) -> dict[str, torch.Tensor]:
    return state(critic.judge)


def test_learning_goes_on_where_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a round too, and to the very same weights."""
    monkeypatch.setattr("critic.training.trainer._EVERY", 0.0)
    examples, verdicts = planted(40, seed=0)
    whole = new(THREE, examples)
    whole.fit(examples, verdicts, np.random.default_rng(0))

    def stop(done: int, _: int) -> None:
        if done == 8:
            raise Killed

    killed = new(THREE, examples)
    with pytest.raises(Killed):
        killed.fit(examples, verdicts, np.random.default_rng(0), stop, tmp_path)
    assert (tmp_path / CHECKPOINT).is_file()
    again = new(THREE, examples)
    steps: list[int] = []
    again.fit(
        examples, verdicts, np.random.default_rng(0), lambda done, _: steps.append(done), tmp_path
    )
    assert steps[0] == 8  # the step that was not kept yet
    for name, weight in learned(whole).items():
        assert torch.equal(weight, learned(again)[name]), name


def test_a_run_that_was_stopped_goes_on_as_the_same_run(
    demo_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    monkeypatch.setattr("critic.training.trainer._EVERY", 0.0)
    settings = TrainSettings(kind="blip2", simulated=True, resamples=20)
    looks = PictureSettings(model=TINY, epochs=2, batch=32, piece=32)

    def stop(done: int, _: int) -> None:
        if done == 4:
            raise Killed

    with pytest.raises(Killed):
        train(demo_store, settings, stop, looks=looks)
    with demo_store.read() as session:
        (broken,) = session.query(Run).filter_by(kind="critic")
        assert broken.status == "failed"
    first: list[int] = []
    run = train(demo_store, settings, lambda done, _: first.append(done), looks=looks)
    assert (run.id, run.status, first[0]) == (broken.id, "done", 4)
    assert not (runs.folder(demo_store, run.name) / "unfinished" / CHECKPOINT).exists()
    # Other settings, or other labels, are another run.
    assert train(demo_store, replace(settings, seed=1), looks=looks).id != run.id


def test_a_run_that_was_killed_goes_on(demo_store: Store) -> None:
    """By kill -9, from the command line: nothing in the process can prepare for it."""
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    url = demo_store.engine.url.render_as_string(hide_password=False)
    words = ["critic", "train", "--kind", "blip2", "--model", TINY, "--epochs", "6", "--simulated"]
    words += ["--batch", "16", "--piece", "16", "--patience", "99", "--resamples", "20"]
    command = [sys.executable, "-m", "lskd", *words, "--store", url]
    process = subprocess.Popen(command, cwd=Path(lskd.__file__).parent, stderr=subprocess.DEVNULL)
    kept = runs.folder(demo_store, "critic-1") / "unfinished" / CHECKPOINT
    while not kept.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    steps: list[int] = []
    settings = TrainSettings(kind="blip2", simulated=True, resamples=20)
    looks = PictureSettings(model=TINY, epochs=6, batch=16, piece=16, patience=99)
    run = train(demo_store, settings, lambda done, _: steps.append(done), looks=looks)
    assert (run.name, run.status) == ("critic-1", "done")
    assert steps[0] > 1


def test_a_gpu_that_is_full_gets_less_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pieces are halved, the step is done anew, and what was learned is the same."""
    examples, verdicts = planted(16, seed=1)
    roomy = new(replace(SETTINGS, piece=4), examples)
    roomy.fit(examples, verdicts, np.random.default_rng(0))
    tight = new(replace(SETTINGS, piece=8), examples)
    work = Teacher.loss

    def full(self: Teacher, piece: Sequence[Lesson]) -> torch.Tensor:
        if len(piece) > 4:
            raise torch.OutOfMemoryError  # a full GPU is not to be had here
        return work(self, piece)

    monkeypatch.setattr(Teacher, "loss", full)
    tight.fit(examples, verdicts, np.random.default_rng(0))
    assert tight.notes["triples in memory, as many as fit"] == 4
    for name, weight in learned(roomy).items():
        torch.testing.assert_close(weight, learned(tight)[name])


def test_no_room_for_one_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    examples, _ = planted(4, seed=2)
    critic = new(SETTINGS, examples)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(critic.judge.encoder, "encode_image", full)
    with pytest.raises(UserError, match="no room for one picture"):
        critic.score(examples)


def test_frugal_learning_learns_the_same() -> None:
    examples, verdicts = planted(16, seed=3)
    kept, frugal = (new(replace(SETTINGS, frugal=how), examples) for how in (False, True))
    for critic in (kept, frugal):
        critic.fit(examples, verdicts, np.random.default_rng(0))
    for name, weight in learned(kept).items():
        torch.testing.assert_close(weight, learned(frugal)[name])


def test_bfloat16_scores_nearly_the_same() -> None:
    examples, _ = planted(8, seed=4)
    fine = new(SETTINGS, examples)
    rough = new(replace(SETTINGS, precision="bf16"), examples)
    difference = np.abs(fine.score(examples) - rough.score(examples))
    assert 0 < difference.max() < 0.05
    with pytest.raises(UserError, match="no precision 'fp8'"):
        new(replace(SETTINGS, precision="fp8"), examples).score(examples)


def break_in_the_second_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """From then on the loss is no number."""
    work = Teacher.step

    def breaks(self: Teacher, batch: Sequence[Lesson], standing: Standing) -> None:
        if standing.epoch == 1:
            monkeypatch.setattr(Teacher, "loss", lambda *_: torch.tensor(float("nan")))
        work(self, batch, standing)

    monkeypatch.setattr(Teacher, "step", breaks)


def test_a_loss_that_is_not_finite_keeps_the_best_state(monkeypatch: pytest.MonkeyPatch) -> None:
    examples, verdicts = planted(24, seed=5)
    critic = new(replace(THREE, epochs=9), examples)
    good = new(replace(THREE, epochs=1), examples)
    good.fit(examples, verdicts, np.random.default_rng(0))
    break_in_the_second_round(monkeypatch)
    with pytest.raises(UserError, match="the loss is nan in round 2"):
        critic.fit(examples, verdicts, np.random.default_rng(0))
    for name, weight in learned(good).items():
        torch.testing.assert_close(weight, learned(critic)[name])


def test_the_best_state_before_it_broke_is_there_to_go_on_with(
    demo_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    break_in_the_second_round(monkeypatch)
    settings = TrainSettings(kind="blip2", simulated=True, resamples=20)
    looks = PictureSettings(model=TINY, epochs=3, batch=32, piece=32)
    with pytest.raises(UserError, match=r"nan in round 2.* its best state is in .*critic-1"):
        train(demo_store, settings, looks=looks)
    folder = runs.folder(demo_store, "critic-1")
    monkeypatch.undo()
    run = train(demo_store, settings, looks=replace(looks, model=str(folder), epochs=1))
    assert run.results["scored"] == 157


def test_two_processes_learn_together(demo_store: Store) -> None:
    """One of them writes; each sees half of every batch, and both end with the same weights."""
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    url = demo_store.engine.url.render_as_string(hide_password=False)
    words = ["critic", "train", "--kind", "blip2", "--model", TINY, "--epochs", "1", "--simulated"]
    words += ["--batch", "16", "--piece", "4", "--resamples", "20", "--store", url, "--json"]
    # `accelerate launch` starts this for several GPUs, and one process alone without any.
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
    told = json.loads(done.stdout[done.stdout.index("{") :])
    assert told["scored"] == 157
    assert told["processes"] == 2
    with demo_store.read() as session:
        assert [run.status for run in session.query(Run).filter_by(kind="critic")] == ["done"]


def test_what_it_takes_is_known_before(demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    url = demo_store.engine.url.render_as_string(hide_password=False)
    words = ["critic", "train", "--kind", "blip2", "--model", TINY, "--simulated", "--store", url]

    def asked(*more: str) -> dict[str, float]:
        done = CliRunner().invoke(cli, [*words, "--forecast", "--json", *more])
        assert done.exit_code == 0, done.output
        found: dict[str, float] = json.loads(done.stdout)
        return found

    little, much = asked("--piece", "4", "--batch", "64"), asked("--piece", "64", "--batch", "64")
    assert much["GiB at once"] > little["GiB at once"]
    assert little["steps at most"] == much["steps at most"] > 0
    with demo_store.read() as session:
        assert not session.query(Run).filter_by(kind="critic").count()
    other = CliRunner().invoke(
        cli, ["critic", "train", "--forecast", "--simulated", "--store", url]
    )
    assert re.search("no forecast for 'baseline'", other.stderr)
