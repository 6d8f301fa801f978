"""How a student learns: in steps that a kill does not undo, alone or in a team."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from blip2.training import distributed
from blip2.training.memory import AdaptiveBatchSize
from blip2.training.trainer import Trainer
from student.models.protocol import Lessons, Scene, Schedule, Trainable

_WARM = 0.05
"""Share of the steps in which the rate rises; then it falls as a cosine does."""
_LOWEST = 0.05
"""Of the peak rate, at the end."""

Losses = Callable[[Sequence[Scene]], Tensor]


def learn(student: Trainable, lessons: Lessons, schedule: Schedule) -> None:
    """Take every step once; what was done before a kill is not done again.

    A batch's loss is the mean over its lessons, whatever pieces and processes it is split into.
    """
    settings = student.settings
    learner = Trainer(
        student.network,
        micro_batch_size=AdaptiveBatchSize(
            settings.piece,
            hint="use --frugal, --precision bf16, less --together or less --size",
            on_halved=partial(student.notes.__setitem__, "pictures in memory, as many as fit"),
        ),
        blocks=student.blocks() if settings.shard else (),
    )
    standing = learner.resume(schedule.keep, schedule.about) or {"step": 0}
    first: int = standing["step"]
    schedule.begin(first)
    batches = lessons.batches(first, schedule.steps)
    for step, (scenes, count) in zip(range(first, schedule.steps), batches, strict=False):
        done, seed = step + 1, hash((settings.seed, step))
        rate = schedule.rate * _share(done / schedule.steps)
        loss = learner.step(
            scenes,
            _summed(student, learner.network, distributed.world_size() / count, seed),
            lr=rate,
            seed=seed,
            where=f"at step {done}",
        )
        told = {
            "step": done,
            "loss": distributed.all_sum(loss) / distributed.world_size(),
            "rate": rate,
        }
        if done % settings.every == 0 or done == schedule.steps:
            student.network.eval()
            with torch.inference_mode():
                told |= schedule.watch(done)
            if schedule.keep:
                learner.save(schedule.keep, {"step": done}, schedule.about)
        schedule.log(told)
    learner.unshard()
    student.network.eval()


def _summed(student: Trainable, network: nn.Module, weight: float, seed: int) -> Losses:
    return lambda piece: student.losses(network, piece, seed).sum() * weight


def _share(done: float) -> float:
    """The rate at a share of the steps, as a share of its peak."""
    if done < _WARM:
        return done / _WARM
    fallen = (done - _WARM) / (1 - _WARM)
    return _LOWEST + (1 - _LOWEST) * (1 + math.cos(math.pi * fallen)) / 2
