"""The training loop: resumable steps in one process or several."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from blip2.training import distributed
from blip2.training.memory import AdaptiveBatchSize
from blip2.training.trainer import Trainer
from student.models.protocol import ImageExamples, TrainableStudent
from student.training.training_log import Evaluation, StepRecord

_WARMUP_FRACTION = 0.05
"""Share of the steps with a rising learning rate, before it decays like a cosine."""
_MIN_LR_FRACTION = 0.05
"""The last learning rate, as a share of the peak."""

_MEMORY_HINT = (
    "use --gradient-checkpointing, --precision bf16, or a lower --triples-per-image or --image-size"
)


@dataclass(frozen=True, slots=True)
class FitConfig:
    """Length, learning rate, checkpoints and callbacks of `fit`."""

    steps: int
    learning_rate: float
    """At its peak."""
    checkpoint_dir: Path | None
    on_start: Callable[[int], None]
    """Called once with the number of steps that are done already."""
    evaluate: Callable[[], Evaluation]
    """Called every `eval_every` steps and after the last one."""
    on_step: Callable[[StepRecord], None]
    checkpoint_config: dict[str, Any]
    """A checkpoint is resumed only if it was written with the same values."""


class BatchSource(Protocol):
    """Where `fit` gets its batches."""

    def batches(self, start: int, stop: int) -> Iterator[tuple[list[ImageExamples], int]]:
        """Yield batches of steps `start` to `stop` - 1.

        Each is this process's part, and the number of examples of all processes.
        """
        ...


Loss = Callable[[Sequence[ImageExamples]], Tensor]


def fit(student: TrainableStudent, source: BatchSource, config: FitConfig) -> None:
    """Train a student, from the last checkpoint if there is one.

    The loss of a batch is the mean over its examples, however it is split into micro-batches and
    over processes. NonFiniteLossError as soon as a loss is not finite.
    """
    settings = student.settings

    def on_halved(size: int) -> None:
        student.diagnostics.reduced_micro_batch_size = size

    trainer = Trainer(
        student.network,
        micro_batch_size=AdaptiveBatchSize(
            settings.micro_batch_size, hint=_MEMORY_HINT, on_halved=on_halved
        ),
        blocks=student.fsdp_modules() if settings.shard else (),
    )
    state = trainer.resume(config.checkpoint_dir, config.checkpoint_config) or {"step": 0}
    start: int = state["step"]
    config.on_start(start)
    batches = source.batches(start, config.steps)
    for step, (batch, count) in enumerate(batches, start=start + 1):
        seed = hash((settings.seed, step - 1))
        learning_rate = config.learning_rate * _lr_fraction(step / config.steps)
        # Gradients are averaged over processes: each weighs its examples by all there are.
        loss = trainer.step(
            batch,
            _weighted_loss(student, trainer.network, distributed.world_size() / count, seed),
            lr=learning_rate,
            seed=seed,
            where=f"at step {step}",
        )
        evaluation = Evaluation()
        if step % settings.eval_every == 0 or step == config.steps:
            student.network.eval()
            with torch.inference_mode():
                evaluation = config.evaluate()
            if config.checkpoint_dir:
                trainer.save(config.checkpoint_dir, {"step": step}, config.checkpoint_config)
        config.on_step(
            StepRecord(
                step,
                distributed.all_sum(loss) / distributed.world_size(),
                learning_rate,
                evaluation.held_out_loss,
                evaluation.samples,
            )
        )
    trainer.unshard()
    student.network.eval()


def _weighted_loss(student: TrainableStudent, network: nn.Module, weight: float, seed: int) -> Loss:
    return lambda batch: student.example_losses(network, batch, seed).sum() * weight


def _lr_fraction(progress: float) -> float:
    """Return the learning rate as a share of its peak, after a share of the steps."""
    if progress < _WARMUP_FRACTION:
        return progress / _WARMUP_FRACTION
    decayed = (progress - _WARMUP_FRACTION) / (1 - _WARMUP_FRACTION)
    return _MIN_LR_FRACTION + (1 - _MIN_LR_FRACTION) * (1 + math.cos(math.pi * decayed)) / 2
