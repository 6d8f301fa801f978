"""How the BLIP-2 critic learns: in steps that a kill does not undo, alone or in a team.

Every step draws its lessons from the seed and the number of the step alone, so that learning that
was stopped goes on to the same weights.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blip2.training import distributed
from blip2.training.memory import AdaptiveBatchSize
from blip2.training.trainer import Trainer
from critic.features.views import AHEAD, THREADS, draw
from critic.models.network import Judge, Weights, state
from critic.models.protocol import Example, Notes, Scores, Verdict
from critic.settings import TINY, PictureSettings
from critic.thresholds.curve import average_precision
from critic.training.losses import loss
from db.parallel.prefetch import prefetch
from regions import references
from regions.marks import Style
from regions.progress import Progress
from regions.view import View, choose_visible

_RATE, _TINY_RATE = 1e-5, 5e-4
_HELD_OUT = 0.1
"""Share of the images on which training watches when to stop."""
_LEAST_IMAGES = 20
"""Fewer than these, and all of them are learned from."""
_WARM = 100
"""Steps in which the rate rises to what it is: the first gradients are large."""
_EVERY = 300.0
"""Seconds of learning that a kill costs at most."""


class Learns(Protocol):
    """What learning has to know of a critic that learns."""

    settings: PictureSettings
    judge: Judge
    device: torch.device
    size: tuple[int, int]
    style: Style
    notes: Notes

    def pixels(self, views: Sequence[View]) -> Tensor:
        """Pictures as the tower takes them."""
        ...

    def tokens(self, views: Sequence[View]) -> tuple[Tensor, Tensor]:
        """Ids and mask of their texts."""
        ...

    def autocast(self) -> AbstractContextManager[object]:
        """In which numbers it computes."""
        ...

    def adaptive(self, size: int, what: str) -> AdaptiveBatchSize:
        """A batch size that is halved when the GPU is full, which is noted."""
        ...

    def score(self, examples: Sequence[Example]) -> Scores:
        """The probability of acceptance."""
        ...


@dataclass(frozen=True, slots=True)
class Lesson:
    """A triple as it was drawn once, and what people say of it."""

    seen: View
    accepted: int
    sound: tuple[float, float]


@dataclass(slots=True)
class Standing:
    """How far learning is, and the best that was found on the way."""

    epoch: int = 0
    step: int = 0
    """Steps of this epoch that are done."""
    best: float = -1.0
    best_epoch: int = 0
    best_weights: Weights = field(default_factory=dict)


def learn(  # noqa: PLR0917 - of `Critic.fit`, and whose
    critic: Learns,
    examples: Sequence[Example],
    verdicts: Sequence[Verdict],
    rng: np.random.Generator,
    progress: Progress,
    keep: Path | None,
) -> None:
    """Learn until average precision on images held out stops rising; the best state is kept.

    In `keep` lies what a run needs to go on after a kill. UserError as soon as a loss is not
    finite, with the best state before it restored.
    """
    seed = int(rng.integers(2**31))
    lessons = Lessons(critic, examples, verdicts, seed)
    teacher = Teacher(critic, lessons, seed)
    standing = teacher.go_on(keep)
    settings, steps = critic.settings, lessons.steps
    kept = time.monotonic()
    try:
        while standing.epoch < settings.epochs and not _is_over(standing, critic, lessons):
            for batch in lessons.batches(standing.epoch, standing.step):
                teacher.step(batch, standing)
                standing.step += 1
                progress(standing.epoch * steps + standing.step, settings.epochs * steps)
                if keep and time.monotonic() - kept > _EVERY:
                    teacher.keep(keep, standing)
                    kept = time.monotonic()
            standing.epoch, standing.step = standing.epoch + 1, 0
            found = lessons.watched() if len(lessons.watch) else float(standing.epoch)
            if found > standing.best:
                standing.best, standing.best_epoch = found, standing.epoch
                standing.best_weights = state(critic.judge)
            if keep:
                teacher.keep(keep, standing)
                kept = time.monotonic()
    finally:
        if standing.best_weights:
            critic.judge.load_state_dict(standing.best_weights, strict=False)
        critic.judge.eval()
        critic.notes["epochs"] = standing.best_epoch
        if distributed.world_size() > 1:
            critic.notes["processes"] = distributed.world_size()


def _is_over(standing: Standing, critic: Learns, lessons: "Lessons") -> bool:
    waited = standing.epoch - standing.best_epoch
    return bool(len(lessons.watch)) and standing.epoch > 0 and waited >= critic.settings.patience


class Lessons:
    """What is learned from, and what is watched: by image, always the same for a seed."""

    def __init__(
        self,
        critic: Learns,
        examples: Sequence[Example],
        verdicts: Sequence[Verdict],
        seed: int,
    ) -> None:
        self._critic, self._examples, self._verdicts = critic, examples, verdicts
        self._seed = seed
        self.learn, self.watch = _held_out(examples, np.random.default_rng(seed))

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.learn) // self._critic.settings.batch)

    def batches(self, epoch: int, first: int) -> Iterator[list[Lesson]]:
        """The batches of an epoch from the step `first` on, drawn ahead; this process's share."""
        order = np.random.default_rng([self._seed, epoch]).permutation(self.learn)
        size = self._critic.settings.batch
        cut = [order[start : start + size] for start in range(first * size, len(order), size)]
        # Each process needs a lesson: what is left over and too little waits for the next epoch.
        mine = [
            some[distributed.rank() :: distributed.world_size()]
            for some in cut
            if len(some) >= distributed.world_size()
        ]
        calls = (partial(self._batch, places, epoch) for places in mine)
        yield from prefetch(calls, threads=THREADS, limit=AHEAD)

    def watched(self) -> float:
        """Average precision on the images held out."""
        scores = self._critic.score([self._examples[n] for n in self.watch])
        return average_precision([self._verdicts[n].accept for n in self.watch], scores)

    def lesson(self, place: int, rng: np.random.Generator) -> Lesson:
        """The triple's own regions or all of them drawn, in any order, ids following."""
        example, verdict = self._examples[place], self._verdicts[place]
        said = f"{example.question} {example.answer} {example.rationale}"
        own = references.mentioned(said)
        shown = choose_visible(own, example.shown, p_mentioned=self._critic.settings.own, rng=rng)
        sound = [float("nan") if part is None else float(part) for part in verdict[1:]]
        seen = draw(example, shown, self._critic.size, self._critic.style)
        return Lesson(seen, int(verdict.accept), (sound[0], sound[1]))

    def _batch(self, places: NDArray[np.int64], epoch: int) -> list[Lesson]:
        return [
            self.lesson(int(n), np.random.default_rng([self._seed, epoch, int(n)])) for n in places
        ]


class Teacher:
    """Steps of a critic's learning, each by its number, and where they stopped."""

    def __init__(self, critic: Learns, lessons: Lessons, seed: int) -> None:
        self._critic, self._lessons, self._seed = critic, lessons, seed
        settings = critic.settings
        self._rate = settings.rate or (_TINY_RATE if settings.model == TINY else _RATE)
        critic.judge.encoder.gradient_checkpointing = settings.frugal
        self._learner = Trainer(
            critic.judge,
            micro_batch_size=critic.adaptive(settings.piece, "triples in memory"),
        )

    def step(self, batch: Sequence[Lesson], standing: Standing) -> None:
        """Learn from a batch: this process's share of one."""
        epoch, step = standing.epoch, standing.step
        done = epoch * self._lessons.steps + step + 1
        self._learner.step(
            batch,
            lambda piece: self.loss(piece) * (len(piece) / len(batch)),
            lr=self._rate * min(1.0, done / _WARM),
            seed=hash((self._seed, epoch, step, distributed.rank())),
            where=f"in round {epoch + 1}",
        )

    def loss(self, piece: Sequence[Lesson]) -> Tensor:
        """The mean loss of some lessons."""
        critic = self._critic
        views = [lesson.seen for lesson in piece]
        accepted = torch.tensor([lesson.accepted for lesson in piece], device=critic.device)
        sound = torch.tensor([lesson.sound for lesson in piece], device=critic.device)
        with critic.autocast():
            logits, parts = self._learner.network(critic.pixels(views), *critic.tokens(views))
        found, _ = loss(logits, parts, accepted, sound)
        return found

    def keep(self, folder: Path, standing: Standing) -> None:
        """Write what is needed to go on."""
        said = {name: getattr(standing, name) for name in Standing.__slots__}
        self._learner.save(folder, said, asdict(self._critic.settings))

    def go_on(self, folder: Path | None) -> Standing:
        """Where learning stopped that had begun with the same settings, or its beginning."""
        said = self._learner.resume(folder, asdict(self._critic.settings))
        return Standing(**said) if said else Standing()


def _held_out(
    examples: Sequence[Example], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which examples are learned from and which are watched, by image."""
    images = np.array([example.image_id for example in examples])
    known = np.unique(images)
    count = round(_HELD_OUT * len(known)) if len(known) >= _LEAST_IMAGES else 0
    watched = np.isin(images, rng.permutation(known)[:count])
    return np.flatnonzero(~watched), np.flatnonzero(watched)
