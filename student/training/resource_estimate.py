"""Memory and time that training takes, measured on one batch before it starts."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from blip2.training import distributed
from blip2.training.memory import estimate_memory, measure_activations
from student.models.protocol import ImageExamples, TrainableStudent
from student.training.trainer import BatchSource

_STEPS = 2
"""Steps that are timed."""


@dataclass(frozen=True, slots=True)
class ResourceEstimate:
    """What a training run will take."""

    device: str
    processes: int
    memory_gib: float
    """At its peak, per process."""
    weights_and_optimizer_gib: float
    triples_per_step: int
    steps: int
    minutes: float


def estimate_resources(student: TrainableStudent, source: BatchSource) -> ResourceEstimate:
    """Measure forward and backward passes of the first batch; the student is not changed."""
    batch, count = next(iter(source.batches(0, 1)))
    settings, network = student.settings, student.network
    network.train()

    def loss(part: Sequence[ImageExamples]) -> Tensor:
        total: Tensor = student.example_losses(network, part, 0).sum()
        return total

    micro_batches = [
        batch[start : start + settings.micro_batch_size]
        for start in range(0, len(batch), settings.micro_batch_size)
    ]
    activation_bytes = measure_activations(network, lambda: loss(micro_batches[0]))
    began = time.perf_counter()
    for _ in range(_STEPS):
        for part in micro_batches:
            loss(part).backward()  # type: ignore[no-untyped-call]
    seconds = (time.perf_counter() - began) / _STEPS
    network.zero_grad()
    network.eval()
    memory = estimate_memory(network, activation_bytes)
    return ResourceEstimate(
        device=str(student.device),
        processes=distributed.world_size(),
        memory_gib=memory.total_gib,
        weights_and_optimizer_gib=memory.weights_and_optimizer_gib,
        triples_per_step=count,
        steps=settings.steps,
        minutes=round(settings.steps * seconds / 60, 1),
    )
