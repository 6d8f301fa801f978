"""What training a student takes, before it starts: memory and time, measured on one batch."""

import time
from typing import Any

from torch import Tensor

from blip2.training import distributed
from blip2.training.memory import estimate_memory, measure_activations
from student.models.protocol import Lessons, Scene, Trainable

_STEPS = 2


def forecast(student: Trainable, lessons: Lessons) -> dict[str, Any]:
    """GiB at once and minutes; nothing of the student is changed."""
    scenes, count = next(iter(lessons.batches(0, 1)))
    settings, network = student.settings, student.network
    piece = scenes[: settings.piece]
    network.train()

    def loss(some: list[Scene]) -> Tensor:
        found: Tensor = student.losses(network, some, 0).sum()
        return found

    # A piece of the most pictures, so that texts of the longest are among them.
    kept = measure_activations(network, lambda: loss(piece))
    memory = estimate_memory(network, kept)
    began = time.perf_counter()
    for _ in range(_STEPS):
        for start in range(0, len(scenes), settings.piece):
            loss(scenes[start : start + settings.piece]).backward()  # type: ignore[no-untyped-call]
    seconds = (time.perf_counter() - began) / _STEPS
    network.zero_grad()
    network.eval()
    return {
        "device": str(student.device),
        "processes": distributed.world_size(),
        "GiB at once": memory.total_gib,
        "of these, weights and optimizer": memory.weights_and_optimizer_gib,
        "triples a step": count,
        "steps": settings.steps,
        "minutes": round(settings.steps * seconds / 60, 1),
    }
