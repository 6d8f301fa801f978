"""Fine-tuning of the BLIP-2 critic, in one process or several, with checkpoints.

The batch of every step depends only on the seed and the number of the step, so that a resumed run
ends with the same weights as an uninterrupted one.
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
from critic.features.views import PREFETCH_LIMIT, PREFETCH_THREADS, draw_example
from critic.models.blip2.losses import critic_loss
from critic.models.blip2.network import Blip2CriticNetwork, StateDict, trainable_state_dict
from critic.protocol import UNREADABLE, Diagnostics, Example, Scores, Targets
from critic.settings import TINY, ModelConfig
from critic.thresholds.curve import average_precision
from db.parallel.prefetch import prefetch
from regions import references
from regions.errors import NotFoundError, UserError
from regions.marks import Style
from regions.progress import Progress
from regions.view import View, choose_visible

_LEARNING_RATE, _TINY_LEARNING_RATE = 1e-5, 5e-4
_VALIDATION_SHARE = 0.1
"""Share of the training images whose average precision decides when to stop."""
_MIN_IMAGES = 20
"""With fewer images there is no validation set."""
_WARMUP_STEPS = 100
"""Steps over which the learning rate rises linearly."""
_CHECKPOINT_SECONDS = 300.0
"""Time between checkpoints, besides one after every epoch."""


class TrainableCritic(Protocol):
    """What the trainer needs of a critic."""

    config: ModelConfig
    network: Blip2CriticNetwork
    device: torch.device
    image_size: tuple[int, int]
    style: Style
    diagnostics: Diagnostics

    def pixel_values(self, views: Sequence[View]) -> Tensor:
        """Images of views as model input."""
        ...

    def tokenize(self, views: Sequence[View]) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask of the views' texts."""
        ...

    def autocast(self) -> AbstractContextManager[object]:
        """Mixed precision as configured."""
        ...

    def adaptive(self, size: int, diagnostic: str) -> AdaptiveBatchSize:
        """A batch size that is halved when the GPU is full, which goes into the diagnostics."""
        ...

    def score(self, examples: Sequence[Example]) -> Scores:
        """The probability of acceptance."""
        ...


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """A triple as drawn for one epoch, with its targets; nan for parts without a label."""

    view: View
    accepted: float
    """0 or 1, or a probability."""
    part_targets: tuple[float, float]


@dataclass(slots=True)
class TrainState:
    """Progress of training, and the best weights so far."""

    epoch: int = 0
    step: int = 0
    """Finished steps of this epoch."""
    best: float = -1.0
    """The best validation score so far."""
    best_epoch: int = 0
    best_weights: StateDict = field(default_factory=dict)


def train_network(  # noqa: PLR0917 - the critic, and the parameters of `Critic.fit`
    critic: TrainableCritic,
    examples: Sequence[Example],
    targets: Sequence[Targets],
    rng: np.random.Generator,
    progress: Progress,
    checkpoint_dir: Path | None,
) -> None:
    """Train until validation average precision stops improving, and restore the best weights.

    Resumes from a checkpoint in `checkpoint_dir`, if there is one of the same configuration.
    UserError as soon as a loss is not finite, with the best weights before it restored.
    """
    seed = int(rng.integers(2**31))
    data = TrainingData(critic, examples, targets, seed)
    trainer = CriticTrainer(critic, data, seed)
    state = trainer.resume(checkpoint_dir)
    epochs, steps = critic.config.epochs, data.steps_per_epoch
    saved = time.monotonic()
    try:
        while state.epoch < epochs and not _should_stop(state, critic, data):
            for batch in data.batches(state.epoch, state.step):
                trainer.step(batch, state)
                state.step += 1
                progress(state.epoch * steps + state.step, epochs * steps)
                if checkpoint_dir and time.monotonic() - saved > _CHECKPOINT_SECONDS:
                    trainer.save(checkpoint_dir, state)
                    saved = time.monotonic()
            state.epoch, state.step = state.epoch + 1, 0
            has_validation = len(data.validation_indices) > 0
            score = data.validation_score() if has_validation else float(state.epoch)
            if score > state.best:
                state.best, state.best_epoch = score, state.epoch
                state.best_weights = trainable_state_dict(critic.network)
            if checkpoint_dir:
                trainer.save(checkpoint_dir, state)
                saved = time.monotonic()
    finally:
        if state.best_weights:
            critic.network.load_state_dict(state.best_weights, strict=False)
        critic.network.eval()
        critic.diagnostics.best_epoch = state.best_epoch
        if distributed.world_size() > 1:
            critic.diagnostics.processes = distributed.world_size()


def _should_stop(state: TrainState, critic: TrainableCritic, data: "TrainingData") -> bool:
    epochs_since_best = state.epoch - state.best_epoch
    return (
        len(data.validation_indices) > 0
        and state.epoch > 0
        and epochs_since_best >= critic.config.patience
    )


class TrainingData:
    """Training and validation examples, split by image; deterministic for a seed."""

    def __init__(
        self,
        critic: TrainableCritic,
        examples: Sequence[Example],
        targets: Sequence[Targets],
        seed: int,
    ) -> None:
        self._critic, self._examples, self._targets = critic, examples, targets
        self._seed = seed
        self.train_indices, self.validation_indices = _split_by_image(
            examples, np.random.default_rng(seed)
        )

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.train_indices) // self._critic.config.batch_size)

    def batches(self, epoch: int, start_step: int) -> Iterator[list[TrainingExample]]:
        """This process's share of an epoch's batches from `start_step` on, drawn ahead."""
        order = np.random.default_rng([self._seed, epoch]).permutation(self.train_indices)
        size = self._critic.config.batch_size
        batches = [order[i : i + size] for i in range(start_step * size, len(order), size)]
        # Every process needs an example; a last batch that is too small is left out.
        own = [
            batch[distributed.rank() :: distributed.world_size()]
            for batch in batches
            if len(batch) >= distributed.world_size()
        ]
        calls = (partial(self._draw_batch, indices, epoch) for indices in own)
        yield from prefetch(calls, threads=PREFETCH_THREADS, limit=PREFETCH_LIMIT)

    def validation_score(self) -> float:
        """Average precision on validation images."""
        scores = self._critic.score([self._examples[n] for n in self.validation_indices])
        accepted = np.array([self._targets[n].accept for n in self.validation_indices])
        readable = scores != UNREADABLE
        return average_precision(accepted[readable].tolist(), scores[readable])

    def example(self, index: int, rng: np.random.Generator) -> TrainingExample:
        """The triple with its own regions or all of them drawn, in random order, renumbered."""
        example, target = self._examples[index], self._targets[index]
        mentioned = references.mentioned(f"{example.question} {example.answer} {example.rationale}")
        visible = choose_visible(
            mentioned,
            example.visible_regions,
            p_mentioned=self._critic.config.p_own_regions,
            rng=rng,
        )
        qa, rationale = (
            float("nan") if part is None else float(part) for part in (target.qa, target.rationale)
        )
        view = draw_example(example, visible, self._critic.image_size, self._critic.style)
        return TrainingExample(view, target.probability, (qa, rationale))

    def _draw_batch(self, indices: NDArray[np.int64], epoch: int) -> list[TrainingExample]:
        """Draw examples, without those whose image cannot be read.

        If none can, another one takes their place, since every process needs an example.
        """
        drawn = [self._draw(int(n), epoch) for n in indices]
        readable = [example for example in drawn if example is not None]
        if readable:
            return readable
        for n in self.train_indices:
            if (other := self._draw(int(n), epoch)) is not None:
                return [other]
        error = min(self._critic.diagnostics.unreadable_images, default="")
        raise NotFoundError(f"no image of the training triples can be read: {error}")

    def _draw(self, index: int, epoch: int) -> TrainingExample | None:
        try:
            return self.example(index, np.random.default_rng([self._seed, epoch, index]))
        except UserError as error:
            self._critic.diagnostics.unreadable_images.add(str(error))
            return None


class CriticTrainer:
    """Optimizer steps and checkpoints of a critic's network."""

    def __init__(self, critic: TrainableCritic, data: TrainingData, seed: int) -> None:
        self._critic, self._data, self._seed = critic, data, seed
        config = critic.config
        self._learning_rate = config.learning_rate or (
            _TINY_LEARNING_RATE if config.model == TINY else _LEARNING_RATE
        )
        critic.network.encoder.gradient_checkpointing = config.gradient_checkpointing
        self._trainer = Trainer(
            critic.network,
            micro_batch_size=critic.adaptive(config.micro_batch_size, "reduced_micro_batch_size"),
        )

    def step(self, batch: Sequence[TrainingExample], state: TrainState) -> None:
        """One optimizer step on this process's share of a batch."""
        epoch, step = state.epoch, state.step
        finished = epoch * self._data.steps_per_epoch + step + 1
        self._trainer.step(
            batch,
            lambda micro_batch: self.loss(micro_batch) * (len(micro_batch) / len(batch)),
            lr=self._learning_rate * min(1.0, finished / _WARMUP_STEPS),
            seed=hash((self._seed, epoch, step, distributed.rank())),
            where=f"in epoch {epoch + 1}",
        )

    def loss(self, micro_batch: Sequence[TrainingExample]) -> Tensor:
        """The mean loss of a micro-batch."""
        critic = self._critic
        views = [example.view for example in micro_batch]
        accepted = torch.tensor([e.accepted for e in micro_batch], device=critic.device)
        part_targets = torch.tensor([e.part_targets for e in micro_batch], device=critic.device)
        with critic.autocast():
            logits, parts = self._trainer.network(
                critic.pixel_values(views), *critic.tokenize(views)
            )
        total, _ = critic_loss(logits, parts, accepted, part_targets)
        return total

    def save(self, folder: Path, state: TrainState) -> None:
        """Write a checkpoint."""
        document = {name: getattr(state, name) for name in TrainState.__slots__}
        self._trainer.save(folder, document, asdict(self._critic.config))

    def resume(self, folder: Path | None) -> TrainState:
        """The state of a checkpoint with the same configuration, or a new one."""
        config = self._critic.config
        document = self._trainer.resume(folder, asdict(config), config.former_names())
        return TrainState(**document) if document else TrainState()


def _split_by_image(
    examples: Sequence[Example], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of training and of validation examples; no image is in both."""
    image_ids = np.array([example.image_id for example in examples])
    unique = np.unique(image_ids)
    count = round(_VALIDATION_SHARE * len(unique)) if len(unique) >= _MIN_IMAGES else 0
    is_validation = np.isin(image_ids, rng.permutation(unique)[:count])
    return np.flatnonzero(~is_validation), np.flatnonzero(is_validation)
