"""Memory and time of training a BLIP-2 critic, measured on a few steps before it starts.

Activation memory is what autograd saves for one triple, times the micro-batch size.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from blip2.training.memory import estimate_memory, measure_activations
from critic.models.blip2.model import Blip2Critic, format_triple
from critic.models.blip2.trainer import CriticTrainer, TrainingData, TrainState
from critic.protocol import Example, Targets
from critic.settings import ModelConfig

_MEASURED_STEPS = 2


@dataclass(frozen=True, slots=True)
class ResourceEstimate:
    """Upper limits of what training takes."""

    device: str
    memory_gib: float
    weights_and_optimizer_gib: float
    max_steps: int
    max_minutes: float
    train_triples: int


def measure_resources(
    config: ModelConfig, examples: Sequence[Example], targets: Sequence[Targets], *, seed: int
) -> ResourceEstimate:
    """Measure a few steps and extrapolate; the trained weights are discarded."""
    texts = [format_triple(e.question, e.answer, e.rationale) for e in examples]
    critic = Blip2Critic.create(config, texts, seed)
    data = TrainingData(critic, examples, targets, seed)
    trainer = CriticTrainer(critic, data, seed)
    batch = next(data.batches(0, 0))
    activations = measure_activations(critic.network, lambda: trainer.loss(batch[:1]))
    started = time.perf_counter()
    for step in range(_MEASURED_STEPS):
        trainer.step(batch, TrainState(step=step))
    seconds_per_step = (time.perf_counter() - started) / _MEASURED_STEPS
    in_memory = min(config.micro_batch_size, config.batch_size)
    memory = estimate_memory(critic.network, activations * in_memory)
    max_steps = data.steps_per_epoch * config.epochs
    return ResourceEstimate(
        device=str(critic.device),
        memory_gib=memory.total_gib,
        weights_and_optimizer_gib=memory.weights_and_optimizer_gib,
        max_steps=max_steps,
        max_minutes=round(max_steps * seconds_per_step / 60, 1),
        train_triples=len(data.train_indices),
    )
