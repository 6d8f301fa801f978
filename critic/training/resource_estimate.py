"""What training a BLIP-2 critic takes, before it starts: memory and time, measured on a few steps.

Activations are what autograd keeps for one triple, times the triples that are in memory at once.
"""

import time
from collections.abc import Sequence
from typing import Any

from blip2.training.memory import estimate_memory, measure_activations
from critic.models.blip2 import Blip2Critic, text_of
from critic.models.protocol import Example, Verdict
from critic.settings import PictureSettings
from critic.training.trainer import Lessons, Standing, Teacher

_STEPS = 2


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
    teacher = Teacher(critic, lessons, seed)
    batch = next(lessons.batches(0, 0))
    kept = measure_activations(critic.judge, lambda: teacher.loss(batch[:1]))
    began = time.perf_counter()
    for step in range(_STEPS):
        teacher.step(batch, Standing(step=step))
    seconds = (time.perf_counter() - began) / _STEPS
    memory = estimate_memory(critic.judge, kept * min(settings.piece, settings.batch))
    steps = lessons.steps * settings.epochs
    return {
        "device": str(critic.device),
        "GiB at once": memory.total_gib,
        "of these, weights and optimizer": memory.weights_and_optimizer_gib,
        "steps at most": steps,
        "minutes at most": round(steps * seconds / 60, 1),
        "triples to learn from": len(lessons.learn),
    }
