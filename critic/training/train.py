"""Train a critic: one run, from labels to scores."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blip2.training import distributed
from critic.features.examples import iter_examples, run_ids
from critic.models import registry
from critic.protocol import UNREADABLE, Critic, Example, Targets
from critic.results import CriticResults
from critic.settings import ModelConfig, TrainSettings
from critic.thresholds.evaluation import evaluate
from critic.thresholds.labelled_scores import (
    LabelledScores,
    LabelledTriple,
    unbiased_thresholds,
    with_images,
)
from critic.training.score import score_new
from db.labelling.labels import load_labels
from db.schema import Call, Judgement, Run
from db.store import keys, runs
from db.store.locks import exclusive_lock
from db.store.results import to_json
from db.store.session import Store
from regions.errors import ConflictError, InvalidError, UserError
from regions.progress import Progress, no_progress

if TYPE_CHECKING:
    from critic.training.resource_estimate import ResourceEstimate

MIN_LABELLED = 40
MIN_PER_CLASS = 5
"""Accepted and rejected training triples that are needed."""
_MIN_TESTED_PER_CLASS = 2
_LABEL_HINT = "label more triples, or use --simulated"


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether there are enough labels to train on."""

    labelled: int
    accepted: int
    images: int
    missing: str | None
    """What is missing; None where labels suffice."""


def readiness(session: Session, *, labelling: str = "", simulated: bool = False) -> Readiness:
    """Whether there are enough labels. New images are assigned to the split on the way."""
    labels, _ = load_labels(session, {"labels": labelling}, simulated=simulated)
    return _check_labels(with_images(session, labels))


def train(
    store: Store,
    settings: TrainSettings,
    progress: Progress = no_progress,
    *,
    config: ModelConfig | None = None,
) -> Run:
    """Train on labels of train images, evaluate on those of test images, score every triple.

    Labels of calibration images are not used: they are kept for certified thresholds. A run that
    was interrupted is resumed if settings and labels are the same. ConflictError while there are
    too few labels.
    """
    settings.check()
    training = _TrainingRun(store, settings, config or ModelConfig())
    if not distributed.is_main():
        # Only the main process writes to the store.
        training.fit(progress)
        return training.run()
    with (
        exclusive_lock(store, f"training {training.name}"),
        runs.mark_failed_on_error(store, training.run_id),
    ):
        critic = training.fit(progress)
        training.save(critic)
        results = to_json(training.evaluate(critic))
        with store.write() as session:
            session.get_one(Run, training.run_id).results = results
        results |= to_json(score_new(store, training.run_id, critic, progress))
        with store.write() as session:
            runs.finish(session, training.run_id, results)
        for file in training.checkpoint_dir.glob("*"):
            file.unlink()
    return training.run()


def estimate_resources(
    store: Store, settings: TrainSettings, config: ModelConfig
) -> "ResourceEstimate":
    """Memory and time that training a BLIP-2 critic would take; nothing is stored."""
    if settings.kind != "blip2":
        raise InvalidError(
            f"--forecast cannot be combined with --kind {settings.kind}",
            hint="only --kind blip2 takes long",
        )
    from critic.training.resource_estimate import measure_resources

    settings.check()
    with store.write() as session:  # new images are assigned to the split
        labels, _ = load_labels(session, {"labels": settings.labels}, simulated=settings.simulated)
        labelled = with_images(session, labels)
        if missing := _check_labels(labelled).missing:
            raise ConflictError(f"too few labels: {missing}", hint=_LABEL_HINT)
        train_triples = {i: triple for i, triple in labelled.items() if triple.part == "train"}
        examples = _load_examples(session, train_triples, {})
    targets = [_targets(train_triples[i], settings) for i in examples]
    return measure_resources(config, list(examples.values()), targets, seed=settings.seed)


class _TrainingRun:
    """Labels, examples and the stored run of one training; an interrupted run is resumed."""

    def __init__(self, store: Store, settings: TrainSettings, config: ModelConfig) -> None:
        self._store, self._settings, self._config = store, settings, config
        with store.read() as session:
            sources = run_ids(session, registry.parse_run_names(settings.from_runs))
        document = asdict(settings) | asdict(config)
        self.run_id, self.name = distributed.broadcast(lambda: self._start_or_resume(document))
        with store.read() as session:
            labels, _ = load_labels(session, document, simulated=settings.simulated)
            self._labelled = with_images(session, labels)
            self._examples = _load_examples(session, self._labelled, sources)
            self._unbiased_from = unbiased_thresholds(session, self.name)
            self._usd_per_1000 = _usd_per_1000(session, sources.values())
        self.folder = runs.folder(store, self.name)
        self.checkpoint_dir = self.folder / "unfinished"

    def _start_or_resume(self, document: Mapping[str, Any]) -> tuple[int, str]:
        settings = self._settings
        with self._store.write() as session:
            labels, simulated = load_labels(session, document, simulated=settings.simulated)
            labelled = with_images(session, labels)
            if missing := _check_labels(labelled).missing:
                raise ConflictError(f"too few labels: {missing}", hint=_LABEL_HINT)
            run = runs.start_or_resume(
                session,
                "critic",
                settings=document,
                name=settings.name,
                seed=settings.seed,
                fingerprint=keys.fingerprint(
                    [i, _targets(triple, settings).probability, triple.part]
                    if settings.soft_labels
                    else [i, triple.label.accept, triple.part]
                    for i, triple in labelled.items()
                ),
                simulated=simulated,
            )
            return run.id, run.name

    def fit(self, progress: Progress) -> Critic:
        """A critic fitted to the labels of train images."""
        ids = [i for i in self._examples if self._labelled[i].part == "train"]
        examples = [self._examples[i] for i in ids]
        critic = registry.build(self._settings, self._config, examples)
        targets = [_targets(self._labelled[i], self._settings) for i in ids]
        rng = np.random.default_rng(self._settings.seed)
        try:
            critic.fit(examples, targets, rng, progress, self.checkpoint_dir)
        except UserError as error:
            if distributed.is_main() and critic.diagnostics.best_epoch:
                self.save(critic)
                hint = f"{error.hint}; the best weights are in {self.folder}, for --model"
                raise UserError(error.problem, where=error.where, hint=hint) from error
            raise
        return critic

    def save(self, critic: Critic) -> None:
        """Save the critic into the run's folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        critic.save(self.folder)

    def evaluate(self, critic: Critic) -> CriticResults:
        """Metrics on labelled triples of test images that were selected at random."""
        test = [i for i in self._examples if self._labelled[i].part == "test"]
        at_random = [i for i in test if self._unbiased_from.get(i, 0.0) <= 0]
        all_scores = critic.score([self._examples[i] for i in at_random])
        ids = [i for i, s in zip(at_random, all_scores, strict=True) if s != UNREADABLE]
        labelled = [self._labelled[i] for i in ids]
        purpose = "selected at random to test on"
        if missing := _missing_labels(labelled, purpose, _MIN_TESTED_PER_CLASS):
            raise ConflictError(f"too few labels: {missing}", hint="label a batch in random order")
        tested = LabelledScores(
            np.array(ids),
            np.array([triple.image_id for triple in labelled]),
            np.array([triple.label.accept for triple in labelled]),
            all_scores[all_scores != UNREADABLE],
            np.zeros(len(ids)),
        )
        evaluation = evaluate(
            tested,
            resamples=self._settings.resamples,
            rng=np.random.default_rng(self._settings.seed),
        )
        parts = [triple.part for triple in self._labelled.values()]
        return CriticResults(
            **{f.name: getattr(evaluation, f.name) for f in fields(evaluation)},
            **critic.diagnostics.as_results(),
            labelled_triples=len(parts),
            train_triples=parts.count("train"),
            test_triples=len(ids),
            excluded_from_test=len(test) - len(at_random),
            usd_per_1000=self._usd_per_1000,
        )

    def run(self) -> Run:
        """The stored run."""
        with self._store.read() as session:
            return session.get_one(Run, self.run_id)


def _load_examples(
    session: Session, labelled: Mapping[int, LabelledTriple], sources: Mapping[str, int]
) -> dict[int, Example]:
    return {
        triple_id: example
        for ids, chunk in iter_examples(session, labelled.keys(), score_sources=sources)
        for triple_id, example in zip(ids, chunk, strict=True)
    }


def _targets(triple: LabelledTriple, settings: TrainSettings) -> Targets:
    label = triple.label
    soft = label.probability if settings.soft_labels else None
    return Targets(label.accept, label.qa, label.rationale, soft)


def _usd_per_1000(session: Session, run_ids: Iterable[int]) -> float:
    """What judgements of these runs have cost, in US dollars per 1,000 triples."""
    total = 0.0
    for run_id in run_ids:
        cost = session.scalar(select(func.sum(Call.cost)).where(Call.run_id == run_id)) or 0
        count = session.scalar(select(func.count()).where(Judgement.run_id == run_id)) or 0
        total += cost / 1e6 / count * 1000 if count else 0.0
    return round(total, 6)


def _check_labels(labelled: Mapping[int, LabelledTriple]) -> Readiness:
    triples = labelled.values()
    train = [triple for triple in triples if triple.part == "train"]
    test = [triple for triple in triples if triple.part == "test"]
    missing: str | None
    if len(labelled) < MIN_LABELLED:
        more = MIN_LABELLED - len(labelled)
        missing = f"{more} more labelled triples ({len(labelled)} of {MIN_LABELLED})"
    else:
        missing = _missing_labels(train, "to train on", MIN_PER_CLASS) or _missing_labels(
            test, "to test on", _MIN_TESTED_PER_CLASS
        )
    accepted = sum(triple.label.accept for triple in triples)
    images = len({triple.image_id for triple in triples})
    return Readiness(len(labelled), accepted, images, missing)


def _missing_labels(labelled: Sequence[LabelledTriple], purpose: str, minimum: int) -> str | None:
    accepted = sum(triple.label.accept for triple in labelled)
    for what, count in (("accepted", accepted), ("rejected", len(labelled) - accepted)):
        if count < minimum:
            return f"{minimum - count} more {what} triples {purpose} ({count} of {minimum})"
    if len({triple.image_id for triple in labelled}) < 2:  # noqa: PLR2004 - intervals are over images
        return f"labels on a second image {purpose}"
    return None
