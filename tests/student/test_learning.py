"""Learning that is stopped, killed, shared, short of memory or disk, or foreseen."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from sqlalchemy import select

import lskd
from blip2.training.trainer import CHECKPOINT
from db.schema import Run
from db.store import runs
from db.store.session import Store
from lskd_cli import cli
from regions.errors import UserError
from student.models import freezing, registry
from student.settings import TrainSettings
from student.training.train import train
from student.training.training_log import FILE, lines
from tests.student.conftest import Make
from tests.student.scenes import Same, scene, schedule

QUICK = TrainSettings(release="all", steps=4, batch=8, base_steps=4, every=2)


class Killed(BaseException):
    """What a kill leaves: nothing more is done."""


def test_going_on_is_as_if_it_had_not_stopped(make: Make, tmp_path: Path) -> None:
    """To the same losses, whatever learns."""

    def batches(student: Any) -> Same:  # noqa: ANN401 - any kind
        return Same([scene(student, n) for n in range(3)])

    whole: list[dict[str, Any]] = []
    student = make()
    object.__setattr__(student.settings, "every", 2)
    student.fit(batches(student), schedule(5, whole))

    stopped = make()
    object.__setattr__(stopped.settings, "every", 2)
    halves: list[dict[str, Any]] = []

    def log(told: dict[str, Any]) -> None:
        halves.append(told)
        if told["step"] == 3:
            raise Killed

    with pytest.raises(Killed):
        stopped.fit(batches(stopped), replace(schedule(5, [], tmp_path), log=log))
    again = make()
    object.__setattr__(again.settings, "every", 2)
    rest: list[dict[str, Any]] = []
    again.fit(batches(again), schedule(5, rest, tmp_path))
    assert [told["step"] for told in rest] == [3, 4, 5]
    found = [told["loss"] for told in (*halves[:2], *rest)]
    assert found == pytest.approx([told["loss"] for told in whole], abs=1e-5)


@pytest.mark.parametrize("kind", ["generative", "discriminative"])
def test_from_a_release_to_a_student(released: Store, kind: str) -> None:
    told: list[dict[str, Any]] = []
    run = train(released, replace(QUICK, kind=kind), foretold=told.append)
    folder = runs.folder(released, run.name)
    assert told[0]["steps"] == 4
    assert told[0]["GiB at once"] > 0
    assert run.simulated
    assert run.results["frozen weights"] > 0
    assert run.results["weights that learned"] > 0
    log = list(lines(folder))
    assert [line["step"] for line in log] == [1, 2, 3, 4]
    assert {"image", "question", "people", "student"} == set(log[1]["examples"][0])
    assert list((folder / "tensorboard").iterdir())
    card = (folder / "student" / "README.md").read_text("utf-8")
    assert f"# `{run.name}`" in card
    assert "simulated votes" in card
    assert not (folder / "unfinished").exists()
    assert registry.load(folder / "student").settings.kind == kind


def test_the_same_seed_gives_the_same_student(released: Store) -> None:
    losses = [train(released, QUICK).results["held-out loss"] for _ in range(2)]
    assert losses[0] == losses[1]


def test_a_student_learns_on_from_another(released: Store) -> None:
    first = train(released, QUICK)
    folder = runs.folder(released, first.name) / "student"
    second = train(released, replace(QUICK, model=str(folder), steps=2))
    assert second.results["triples"] == first.results["triples"]
    saved = runs.folder(released, second.name) / "student"
    assert registry.settings_in(saved).model == "tiny"
    with pytest.raises(UserError, match="a student of kind generative"):
        train(released, replace(QUICK, model=str(folder), kind="discriminative"))


def test_a_killed_process_goes_on_to_the_same_losses(released: Store) -> None:
    url = released.engine.url.render_as_string(hide_password=False)
    words = ["student", "train", "--release", "all", "--steps", "12", "--batch", "8"]
    words += ["--base-steps", "4", "--every", "2", "--store", url, "--json", "--name"]

    def start(name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "lskd", *words, name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(lskd.__file__).parent,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def losses(name: str) -> list[float]:
        return [line["loss"] for line in lines(runs.folder(released, name))]

    killed = start("killed")
    while len(losses("killed")) < 5:
        assert killed.poll() is None
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    before = len(losses("killed"))
    assert before < 12
    again = start("killed")
    _, said = again.communicate()
    assert again.returncode == 0, said
    whole = start("whole")
    whole.communicate()
    assert losses("killed") == losses("whole")
    with released.read() as session:
        assert [
            run.status for run in session.scalars(select(Run).where(Run.kind == "student"))
        ] == [
            "done",
            "done",
        ]


TEAM = """
import json, sys
from pathlib import Path
import torch
from blip2.training import distributed
from tests.student.test_learning import shared
distributed.init()
print("LOSSES" + json.dumps(shared(*sys.argv[1:])), flush=True)
"""


def shared(kind: str, folder: str, sharded: str = "") -> list[float]:
    """The losses of a student of a kind that learns with whoever else is there."""
    from blip2.model import tiny
    from blip2.training import distributed
    from student.models.discriminative import Discriminative
    from student.models.generative import Generative
    from tests.student.conftest import TEXTS

    torch.manual_seed(0)
    words = tiny.train_tokenizer(TEXTS)
    settings = TrainSettings(release="", kind=kind, every=100, piece=99, shard=bool(sharded))
    student: Any
    if kind == "discriminative":
        student = Discriminative.made((tiny.tiny_retrieval(words, seed=0), words), settings)
    else:
        student = Generative.made((tiny.tiny_instructblip(words, seed=0), words), settings)
    scenes = [scene(student, n) for n in range(4)]

    class Shares(Same):
        def batches(self, first: int, last: int) -> Any:  # noqa: ANN401 - as above
            for whole, count in super().batches(first, last):
                yield whole[distributed.rank() :: distributed.world_size()], count

    log: list[dict[str, Any]] = []
    student.fit(Shares(scenes), schedule(5, log, Path(folder)))
    # By then each process has all weights, and needs none of the others.
    after = student.loss(scenes) if distributed.is_main() else log[-1]["loss"]
    assert after < log[0]["loss"] * 2
    saved = Path(folder) / f"saved{distributed.rank()}"
    saved.mkdir(parents=True, exist_ok=True)
    freezing.save_learned(student.network, saved)
    return [told["loss"] for told in log]


@pytest.mark.parametrize("kind", ["generative", "discriminative", "sharded"])
def test_two_processes_learn_as_one_with_twice_the_batch(kind: str, tmp_path: Path) -> None:
    """Their negatives are those of both; weights may be spread over them."""
    script = tmp_path / "team.py"
    script.write_text(TEAM, "utf-8")
    sharded = ["yes"] if kind == "sharded" else []
    kind = "generative" if sharded else kind
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", str(script), kind, str(tmp_path / "two"), *sharded),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(lskd.__file__).parent,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": str(Path(lskd.__file__).parent),
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = [line for line in done.stdout.splitlines() if line.startswith("LOSSES")]
    assert len(said) == 2
    alone = shared(kind, str(tmp_path / "one"))
    for line in said:
        assert json.loads(line.removeprefix("LOSSES")) == pytest.approx(alone, abs=1e-4)
    kept = torch.load(tmp_path / "two" / CHECKPOINT, weights_only=True)["model"]
    one = torch.load(tmp_path / "one" / CHECKPOINT, weights_only=True)["model"]
    assert set(kept) == set(one)
    for name, weight in one.items():
        torch.testing.assert_close(kept[name], weight, atol=1e-3, rtol=1e-2)
    ours = load_file(tmp_path / "one" / "saved0" / freezing.LEARNED)
    for rank in range(2):
        theirs = load_file(tmp_path / "two" / f"saved{rank}" / freezing.LEARNED)
        assert {n: w.shape for n, w in theirs.items()} == {n: w.shape for n, w in ours.items()}


def test_a_team_trains_by_command(released: Store) -> None:
    url = released.engine.url.render_as_string(hide_password=False)
    words = ["student", "train", "--release", "all", "--kind", "discriminative", "--steps", "3"]
    words += ["--batch", "8", "--base-steps", "4", "--every", "2", "--store", url, "--json"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "lskd"]
    done = subprocess.run(
        [sys.executable, *launch, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=Path(lskd.__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout[done.stdout.index("{") :])
    assert told["processes"] == 2
    assert [line["step"] for line in lines(runs.folder(released, told["run"]))] == [1, 2, 3]


def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_good_state(
    released: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from student.models.generative import Generative

    work = Generative.losses
    calls = [0]

    def breaks(self: Generative, network: Any, scenes: Any, seed: int) -> torch.Tensor:  # noqa: ANN401 - as there
        calls[0] += network.training
        return work(self, network, scenes, seed) * (float("nan") if calls[0] > 6 else 1)

    monkeypatch.setattr(Generative, "losses", breaks)
    with pytest.raises(
        UserError, match=r"the loss is nan at step \d.* as it was at step 2 it is in"
    ):
        train(released, replace(QUICK, steps=9))
    monkeypatch.undo()
    with released.read() as session:
        failed = session.scalars(select(Run).where(Run.kind == "student")).one()
        assert failed.status == "failed"
        assert "lower --rate" in failed.results["error"]
    left = runs.folder(released, failed.name) / "student"
    assert train(released, replace(QUICK, model=str(left))).results["triples"] > 0


def test_a_full_disk_leaves_what_was_saved_before(make: Make, tmp_path: Path) -> None:
    student = make()
    scenes = Same([scene(student, 0)])
    student.fit(scenes, schedule(2, [], tmp_path))
    kept = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / f"{CHECKPOINT}.new").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"cannot be saved.*make room"):
        student.fit(scenes, schedule(4, [], tmp_path))
    assert (tmp_path / CHECKPOINT).read_bytes() == kept


def test_a_full_gpu_halves_what_is_in_memory(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    student = make()
    work, most = type(student).losses, 1

    def full(self: Any, network: Any, scenes: Any, seed: int) -> Any:  # noqa: ANN401 - of any kind
        if len(scenes) > most:
            raise torch.OutOfMemoryError
        return work(self, network, scenes, seed)

    monkeypatch.setattr(type(student), "losses", full)
    student.fit(Same([scene(student, n) for n in range(4)]), schedule(1, []))
    assert student.notes["pictures in memory, as many as fit"] == 1
    most = 0
    with pytest.raises(UserError, match=r"no room for one picture.*--frugal"):
        student.fit(Same([scene(student, 0)]), schedule(1, []))


def test_what_it_takes_is_known_before(released: Store) -> None:
    url = released.engine.url.render_as_string(hide_password=False)
    words = ["student", "train", "--release", "all", "--store", url, "--forecast", "--json"]

    def asked(*more: str) -> dict[str, float]:
        done = CliRunner().invoke(cli, [*words, *more])
        assert done.exit_code == 0, done.output
        found: dict[str, float] = json.loads(done.stdout)
        return found

    little, much = asked("--piece", "1"), asked("--piece", "64", "--batch", "64")
    assert much["GiB at once"] > little["GiB at once"]
    assert little["minutes"] > 0
    with released.read() as session:
        assert not session.query(Run).filter_by(kind="student").count()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"release": "none"}, "no release named 'none'"),
        ({"kind": "large"}, "no kind 'large'"),
        ({"told": "coordinates"}, "only chat models"),
        ({"own": 1.5}, "--own 1.5.*share"),
        ({"steps": 0}, "--steps 0.*1 or more"),
        ({"instructions": 0.5}, "no instructions"),
        ({"style": "none"}, "no style"),
        ({"rate": float("nan")}, "a rate of nan"),
    ],
)
def test_what_cannot_be_trained_is_said_at_once(
    released: Store, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        train(released, replace(QUICK, **change))
    with released.read() as session:
        assert not session.query(Run).filter_by(kind="student", status="running").count()


def test_a_line_that_a_kill_cut_off_is_none(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"step": 1}\n{"step": 2, "lo', "utf-8")
    assert list(lines(tmp_path)) == [{"step": 1}]
