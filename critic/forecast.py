"""What training a BLIP-2 critic takes, before it starts: memory and time, measured on a few steps.

Activations are what autograd keeps for one triple, times the triples that are in memory at once.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from critic.blip2 import Blip2Critic, text_of
from critic.learning import Learner, Lessons, Standing
from critic.protocol import Example, Verdict
from critic.settings import PictureSettings

_GIB = 2**30
_STEPS = 2
_ADAM = 2
"""Numbers that the optimizer keeps for each that learns, beside its gradient."""


def forecast(
    settings: PictureSettings,
    examples: Sequence[Example],
    verdicts: Sequence[Verdict],
    *,
    seed: int,
) -> dict[str, Any]:
    """GiB at once and minutes at most; nothing is kept of what was learned to find out."""
    texts = [text_of(e.question, e.answer, e.rationale) for e in examples]
    critic = Blip2Critic.new(settings, texts, seed)
    lessons = Lessons(critic, examples, verdicts, seed)
    learner = Learner(critic, lessons, seed)
    batch = next(lessons.batches(0, 0))
    kept = _kept_for(learner, batch[:1])
    began = time.perf_counter()
    for step in range(_STEPS):
        learner.step(batch, Standing(step=step))
    seconds = (time.perf_counter() - began) / _STEPS
    weights = [w.numel() * w.element_size() for w in critic.judge.parameters()]
    learning = sum(w.numel() * w.element_size() for w in critic.judge.learning())
    memory = sum(weights) + learning * (1 + _ADAM) + kept * min(settings.piece, settings.batch)
    steps = lessons.steps * settings.epochs
    return {
        "device": str(critic.device),
        "GiB at once": round(memory / _GIB, 2),
        "of these, weights and optimizer": round((memory - kept * settings.piece) / _GIB, 2),
        "steps at most": steps,
        "minutes at most": round(steps * seconds / 60, 1),
        "triples to learn from": len(lessons.learn),
    }


def _kept_for(learner: Learner, batch: Any) -> int:  # noqa: ANN401 - lessons
    """Bytes that autograd keeps for one triple until its gradients are made."""
    seen: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {weight.untyped_storage().data_ptr() for weight in learner.judge.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        learner.step(batch, Standing())
    return int(np.sum([size for place, size in seen.items() if place not in weights]))
