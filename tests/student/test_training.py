"""Training that is resumed, killed, distributed, short of memory or disk, or forecast."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
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
from db.schema import Image, Run
from db.store import runs
from db.store.session import Store
from lskd_cli import cli
from regions.errors import UserError
from student.models import freezing, registry
from student.models.protocol import ImageExamples, TrainableStudent
from student.results import results_of
from student.settings import TrainSettings
from student.training.corpus import load_corpus
from student.training.resource_estimate import ResourceEstimate
from student.training.train import train
from student.training.trainer import fit
from student.training.training_log import LOG_FILE, Sample, StepRecord, read_log
from tests.student.conftest import Make
from tests.student.examples import FixedBatches, fit_config, image_examples

QUICK = TrainSettings(release="all", steps=4, batch_size=8, base_steps=4, eval_every=2)


class Killed(BaseException):
    """Stands for a kill: nothing more is done."""


@pytest.mark.slow
def test_a_resumed_run_has_the_losses_of_an_uninterrupted_one(make: Make, tmp_path: Path) -> None:
    def new_student() -> TrainableStudent:
        student = make()
        object.__setattr__(student.settings, "eval_every", 2)
        return student

    def batches(student: TrainableStudent) -> FixedBatches:
        return FixedBatches([image_examples(student, n) for n in range(3)])

    whole: list[StepRecord] = []
    student = new_student()
    fit(student, batches(student), fit_config(5, whole))

    before_kill: list[StepRecord] = []

    def on_step(record: StepRecord) -> None:
        before_kill.append(record)
        if record.step == 3:
            raise Killed

    killed = new_student()
    with pytest.raises(Killed):
        fit(killed, batches(killed), replace(fit_config(5, [], tmp_path), on_step=on_step))
    resumed: list[StepRecord] = []
    student = new_student()
    fit(student, batches(student), fit_config(5, resumed, tmp_path))
    assert [record.step for record in resumed] == [3, 4, 5]
    losses = [record.loss for record in (*before_kill[:2], *resumed)]
    assert losses == pytest.approx([record.loss for record in whole], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["generative", "discriminative"])
def test_from_a_release_to_a_student(released: Store, kind: str) -> None:
    forecasts: list[ResourceEstimate] = []
    run = train(released, replace(QUICK, kind=kind), on_forecast=forecasts.append)
    folder = runs.folder(released, run.name)
    assert forecasts[0].steps == 4
    assert forecasts[0].memory_gib > 0
    assert run.simulated
    results = results_of(run)
    assert (results.frozen_parameters or 0) > 0
    assert (results.trainable_parameters or 0) > 0
    log = read_log(folder)
    assert [record.step for record in log] == [1, 2, 3, 4]
    rows = [json.loads(line) for line in (folder / LOG_FILE).read_text("utf-8").splitlines()]
    assert set(rows[0]) == {"step", "loss", "learning_rate"}
    assert set(rows[1]["samples"][0]) == {"image_id", "question", "reference", "prediction"}
    assert log[1].samples[0].question
    assert list((folder / "tensorboard").iterdir())
    card = (folder / "student" / "README.md").read_text("utf-8")
    assert f"# `{run.name}`" in card
    assert "simulated votes" in card
    assert not (folder / "unfinished").exists()
    assert registry.load(folder / "student").settings.kind == kind


@pytest.mark.slow
def test_the_same_seed_gives_the_same_student(released: Store) -> None:
    losses = [results_of(train(released, QUICK)).held_out_loss for _ in range(2)]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_a_trained_student_is_trained_further(released: Store) -> None:
    first = train(released, QUICK)
    folder = runs.folder(released, first.name) / "student"
    second = train(released, replace(QUICK, model=str(folder), steps=2))
    assert results_of(second).triples == results_of(first).triples
    saved = runs.folder(released, second.name) / "student"
    assert registry.load_settings(saved).model == "tiny"
    with pytest.raises(UserError, match="this student is of kind generative"):
        train(released, replace(QUICK, model=str(folder), kind="discriminative"))


@pytest.mark.slow
def test_a_killed_process_is_resumed_to_the_same_losses(released: Store) -> None:
    url = released.engine.url.render_as_string(hide_password=False)
    words = ["student", "train", "--release", "all", "--steps", "8", "--batch-size", "8"]
    words += ["--base-steps", "4", "--eval-every", "4", "--store", url, "--json", "--name"]

    def start(name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "lskd", *words, name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(lskd.__file__).parent,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def losses(name: str) -> list[float | None]:
        return [record.loss for record in read_log(runs.folder(released, name))]

    killed = start("killed")
    while len(losses("killed")) < 5:
        assert killed.poll() is None
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    before = len(losses("killed"))
    assert before < 8
    resumed = start("killed")
    _, stderr = resumed.communicate()
    assert resumed.returncode == 0, stderr
    settings = TrainSettings("all", steps=8, batch_size=8, base_steps=4, eval_every=4)
    whole = train(released, settings)
    assert losses("killed") == pytest.approx(losses(whole.name), abs=1e-6)
    with released.read() as session:
        statuses = session.scalars(select(Run.status).where(Run.kind == "student")).all()
    assert statuses == ["done", "done"]


SCRIPT = """
import json, sys
from blip2.training import distributed
from tests.student.test_training import KINDS, train_together
distributed.init()
for kind in KINDS:
    losses = train_together(kind, f"{sys.argv[1]}/{kind}")
    print("LOSSES" + json.dumps([kind, losses]), flush=True)
"""
KINDS = ("generative", "discriminative", "sharded")


def train_together(kind: str, folder: str) -> list[float | None]:
    """The losses of a student trained by all processes there are."""
    from blip2.model import tiny
    from blip2.training import distributed
    from student.models.discriminative import DiscriminativeStudent
    from student.models.generative import GenerativeStudent
    from tests.student.conftest import TEXTS

    torch.manual_seed(0)
    tokenizer = tiny.train_tokenizer(TEXTS)
    is_sharded = kind == "sharded"
    settings = TrainSettings(
        release="",
        kind="generative" if is_sharded else kind,
        eval_every=100,
        micro_batch_size=99,
        shard=is_sharded,
    )
    student: TrainableStudent
    if kind == "discriminative":
        student = DiscriminativeStudent.from_tiny_base(
            (tiny.tiny_retrieval(tokenizer, seed=0), tokenizer), settings
        )
    else:
        student = GenerativeStudent.from_tiny_base(
            (tiny.tiny_instructblip(tokenizer, seed=0), tokenizer), settings
        )
    examples = [image_examples(student, n) for n in range(4)]

    class SharedBatches(FixedBatches):
        def batches(self, start: int, stop: int) -> Iterator[tuple[list[ImageExamples], int]]:
            for batch, count in super().batches(start, stop):
                yield batch[distributed.rank() :: distributed.world_size()], count

    log: list[StepRecord] = []
    fit(student, SharedBatches(examples), fit_config(5, log, Path(folder)))
    # After training each process has all weights, and the main one needs no other.
    loss = student.mean_loss(examples) if distributed.is_main() else log[-1].loss
    assert loss is not None
    assert log[0].loss is not None
    assert loss < log[0].loss * 2
    saved = Path(folder) / f"saved{distributed.rank()}"
    saved.mkdir(parents=True, exist_ok=True)
    freezing.save_trainable(student.network, saved)
    return [record.loss for record in log]


@pytest.fixture(scope="module")
def trained_by_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """The folder of students that two processes trained, and the losses that each printed."""
    folder = tmp_path_factory.mktemp("two")
    script = folder / "train_together.py"
    script.write_text(SCRIPT, "utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", str(script), str(folder)),
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
    lines = [line for line in done.stdout.splitlines() if line.startswith("LOSSES")]
    return folder, [json.loads(line.removeprefix("LOSSES")) for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_train_as_one_with_twice_the_batch(
    kind: str, trained_by_two: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    """Negatives are those of both; weights may be sharded over them."""
    folder, printed = trained_by_two
    losses = [by_process for trained, by_process in printed if trained == kind]
    alone = train_together("generative" if kind == "sharded" else kind, str(tmp_path))
    assert len(losses) == 2
    for by_process in losses:
        assert by_process == pytest.approx(alone, abs=1e-4)
    two = torch.load(folder / kind / CHECKPOINT, weights_only=True)["model"]
    one = torch.load(tmp_path / CHECKPOINT, weights_only=True)["model"]
    assert set(two) == set(one)
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=1e-3, rtol=1e-2)
    expected = load_file(tmp_path / "saved0" / freezing.WEIGHTS_FILE)
    for rank in range(2):
        saved = load_file(folder / kind / f"saved{rank}" / freezing.WEIGHTS_FILE)
        assert {n: w.shape for n, w in saved.items()} == {n: w.shape for n, w in expected.items()}


@pytest.mark.slow
def test_two_processes_train_by_command(released: Store) -> None:
    url = released.engine.url.render_as_string(hide_password=False)
    words = ["student", "train", "--release", "all", "--kind", "discriminative", "--steps", "3"]
    words += ["--batch-size", "8", "--base-steps", "4", "--eval-every", "2"]
    words += ["--store", url, "--json"]
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
    printed = json.loads(done.stdout[done.stdout.index("{") :])
    assert printed["processes"] == 2
    log = read_log(runs.folder(released, printed["run"]))
    assert [record.step for record in log] == [1, 2, 3]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_training_and_keeps_the_last_checkpoint(
    released: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from student.models.generative import GenerativeStudent

    example_losses = GenerativeStudent.example_losses
    calls = [0]

    def diverging(self: GenerativeStudent, network: Any, batch: Any, seed: int) -> torch.Tensor:  # noqa: ANN401 - as there
        calls[0] += network.training
        factor = float("nan") if calls[0] > 6 else 1
        return example_losses(self, network, batch, seed) * factor

    monkeypatch.setattr(GenerativeStudent, "example_losses", diverging)
    with pytest.raises(
        UserError, match=r"the loss is nan at step \d.* the student of step 2 is in"
    ):
        train(released, replace(QUICK, steps=9))
    monkeypatch.undo()
    with released.read() as session:
        failed = session.scalars(select(Run).where(Run.kind == "student")).one()
        assert failed.status == "failed"
        assert "lower --learning-rate" in failed.results["error"]
    saved = runs.folder(released, failed.name) / "student"
    assert results_of(train(released, replace(QUICK, model=str(saved)))).triples


def test_a_full_disk_keeps_the_checkpoint_before(make: Make, tmp_path: Path) -> None:
    student = make()
    batches = FixedBatches([image_examples(student, 0)])
    fit(student, batches, fit_config(2, [], tmp_path))
    kept = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / f"{CHECKPOINT}.new").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"cannot be saved.*make room"):
        fit(student, batches, fit_config(4, [], tmp_path))
    assert (tmp_path / CHECKPOINT).read_bytes() == kept


def test_a_full_gpu_halves_the_micro_batch(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    student = make()
    example_losses, limit = type(student).example_losses, 1

    def limited(self: Any, network: Any, batch: Any, seed: int) -> Any:  # noqa: ANN401 - of any kind
        if len(batch) > limit:
            raise torch.OutOfMemoryError
        return example_losses(self, network, batch, seed)

    monkeypatch.setattr(type(student), "example_losses", limited)
    batch = [image_examples(student, n) for n in range(4)]
    fit(student, FixedBatches(batch), fit_config(1, []))
    assert student.diagnostics.reduced_micro_batch_size == 1
    limit = 0
    with pytest.raises(UserError, match=r"no room for one picture.*--gradient-checkpointing"):
        fit(student, FixedBatches(batch[:1]), fit_config(1, []))


@pytest.mark.slow
def test_memory_and_time_are_forecast_without_a_run(released: Store) -> None:
    url = released.engine.url.render_as_string(hide_password=False)
    words = ["student", "train", "--release", "all", "--store", url, "--forecast", "--json"]

    def forecast(*options: str) -> dict[str, float]:
        done = CliRunner().invoke(cli, [*words, *options])
        assert done.exit_code == 0, done.output
        printed: dict[str, float] = json.loads(done.stdout)
        return printed

    small = forecast("--micro-batch-size", "1")
    # The former names of the options.
    large = forecast("--piece", "64", "--batch", "64")
    assert large["memory_gib"] > small["memory_gib"]
    assert small["minutes"] > 0
    with released.read() as session:
        assert not session.query(Run).filter_by(kind="student").count()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"release": "none"}, "no release named 'none'"),
        ({"kind": "large"}, "unknown kind 'large'"),
        ({"region_input": "coordinates"}, "only chat models"),
        ({"p_own_regions": 1.5}, r"--p-own-regions must be between 0 and 1 \(got 1.5\)"),
        ({"steps": 0}, r"--steps must be at least 1 \(got 0\)"),
        ({"instruction_share": 0.5}, "no instructions"),
        ({"style": "none"}, "no style"),
        ({"learning_rate": float("nan")}, r"--learning-rate must be between .* \(got nan\)"),
    ],
)
def test_settings_that_are_not_allowed_are_refused_before_training(
    released: Store, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        train(released, replace(QUICK, **change))
    with released.read() as session:
        assert not session.query(Run).filter_by(kind="student", status="running").count()


def test_a_partial_line_of_the_log_is_ignored(tmp_path: Path) -> None:
    (tmp_path / LOG_FILE).write_text('{"step": 1}\n{"step": 2, "lo', "utf-8")
    assert read_log(tmp_path) == [StepRecord(1)]


def test_the_log_of_a_former_version_is_read(tmp_path: Path) -> None:
    sample = {"image": 3, "question": "Why?", "people": "So.", "student": "No."}
    row = {"step": 4, "loss": 1.5, "rate": 0.1, "held-out loss": 2.5, "examples": [sample]}
    (tmp_path / LOG_FILE).write_text(json.dumps(row) + "\n", "utf-8")
    samples = (Sample(3, "Why?", "So.", "No."),)
    assert read_log(tmp_path) == [StepRecord(4, 1.5, 0.1, 2.5, samples)]


def test_settings_of_a_former_version_are_read() -> None:
    stored = {"release": "r", "batch": 8, "own": 0.2, "frugal": True, "told": "marks", "rank": 4}
    assert TrainSettings.from_stored(stored) == TrainSettings(
        "r", batch_size=8, p_own_regions=0.2, gradient_checkpointing=True, lora_rank=4
    )
    first_release = TrainSettings.from_stored({"release": "r", "language_steps": 500})
    assert first_release == TrainSettings("r", base_steps=500)


@pytest.mark.slow
def test_an_image_that_breaks_costs_its_triples_and_not_the_training(released: Store) -> None:
    with released.write() as session:
        corpus = load_corpus(session, "all", ["train"])
        image = session.get_one(Image, int(corpus.image_ids[0]))
        image.name += ".gone"
    results = results_of(train(released, QUICK))
    assert results.unreadable_images == 1
    assert image.name in str(results.unreadable_example)
