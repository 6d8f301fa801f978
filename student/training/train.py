"""Training a student on a release: data, model, loop, calibration, results."""

import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from sqlalchemy.orm import Session

from blip2.training import distributed
from blip2.training.trainer import NonFiniteLossError, load_checkpoint
from db.schema import Release, Run
from db.store import keys, queries, runs
from db.store.files import replace_folder
from db.store.locks import exclusive_lock
from db.store.results import to_json
from db.store.session import Store
from regions.errors import InvalidError, NotFoundError, UserError
from regions.progress import Progress, no_progress
from student.asking.confidence import Confidence, calibrate
from student.models import registry
from student.models.freezing import count_parameters
from student.models.protocol import ImageExamples, Query, TrainableStudent
from student.publishing import model_card
from student.results import StudentResults
from student.settings import TINY, TrainSettings
from student.training.batches import BatchLoader
from student.training.corpus import (
    Corpus,
    accepted_and_rejected,
    check_images_exist,
    load_corpus,
)
from student.training.initialization import initial_student
from student.training.resource_estimate import ResourceEstimate, estimate_resources
from student.training.trainer import FitConfig, fit
from student.training.training_log import Evaluation, Sample, StepRecord, TrainingLog

MIN_TRIPLES = 8
"""Released triples on train images."""
_HELD_OUT_TRIPLES, _SAMPLES = 32, 3
"""Triples on test images that are evaluated during training, and those that are answered."""
_MAX_CALIBRATION_TRIPLES = 500
"""Accepted and rejected triples each."""
_LEARNING_RATE, _TINY_LEARNING_RATE, _LORA_LEARNING_RATE = 1e-5, 1e-3, 1e-4
_FORECAST_BASE_STEPS = 2

OnForecast = Callable[[ResourceEstimate], None]


@dataclasses.dataclass(frozen=True, slots=True)
class RunContext:
    """A run, the triples it trains on, and those it is evaluated and calibrated on."""

    run_id: int
    name: str
    corpus: Corpus
    held_out: list[int]
    accepted: list[int]
    rejected: list[int]


def train(
    store: Store,
    settings: TrainSettings,
    progress: Progress = no_progress,
    *,
    on_forecast: OnForecast = lambda _: None,
) -> Run:
    """Train on what a release kept of train images; test images are held out.

    An unfinished run with the same settings and triples is resumed. `on_forecast` is called before
    the first step. The student is saved whole or not at all. UserError for a release that does not
    exist or has too few triples, missing images, a model that cannot be loaded, a loss that is not
    finite, or a full disk.
    """
    settings.check()
    context = distributed.broadcast(lambda: _start_run(store, settings))
    folder = runs.folder(store, context.name)
    if not distributed.is_main():
        student, loader = _prepare(store, settings, context, folder, progress)
        estimate_resources(student, loader)  # all processes have to take part
        _fit(student, loader, settings, held_out=context.held_out, folder=folder, progress=progress)
        with store.read() as session:
            return session.get_one(Run, context.run_id)
    with (
        exclusive_lock(store, f"training {context.name}"),
        runs.mark_failed_on_error(store, context.run_id),
    ):
        start = time.perf_counter()
        student, loader = _prepare(store, settings, context, folder, progress)
        on_forecast(estimate_resources(student, loader))
        try:
            _fit(
                student,
                loader,
                settings,
                held_out=context.held_out,
                folder=folder,
                progress=progress,
            )
        except NonFiniteLossError as error:
            raise _with_last_checkpoint(error, student, folder) from error
        confidence = calibrate(
            student,
            loader.fixed_examples(context.accepted),
            loader.fixed_examples(context.rejected),
        )
        results = _results(student, loader, context, settings, confidence)
        _save(student, folder, confidence)
        results = dataclasses.replace(results, seconds=time.perf_counter() - start)
        with store.write() as session:
            runs.finish(session, context.run_id, to_json(results))
    shutil.rmtree(_checkpoint_dir(folder), ignore_errors=True)
    with store.read() as session:
        run = session.get_one(Run, context.run_id)
        (folder / "student" / "README.md").write_text(model_card.card(session, run), "utf-8")
    return run


def forecast(store: Store, settings: TrainSettings) -> ResourceEstimate:
    """Return the memory and time that training would take; no run is created."""
    settings.check()
    with store.write() as session:  # new images get their part of the split
        corpus = _load_enough(session, settings)
    brief = dataclasses.replace(settings, base_steps=min(settings.base_steps, _FORECAST_BASE_STEPS))
    student = initial_student(store, brief, corpus)
    return estimate_resources(student, BatchLoader(store, student, corpus, settings))


def _start_run(store: Store, settings: TrainSettings) -> RunContext:
    with store.write() as session:
        corpus = _load_enough(session, settings, instructions=settings.instruction_share > 0)
        if settings.instruction_share and not len(corpus.instruction_ids):
            raise NotFoundError(
                "there are no instructions for train images", hint="see `lskd generate --help`"
            )
        image_ids = np.concatenate([corpus.image_ids, corpus.instruction_image_ids])
        check_images_exist(session, np.unique(image_ids))
        release = queries.by_name(session, Release, settings.release)
        accepted, rejected = accepted_and_rejected(session, release, "calibration")
        rng = np.random.default_rng(settings.seed)
        run = runs.start_or_resume(
            session,
            "student",
            settings=dataclasses.asdict(settings),
            name=settings.name,
            seed=settings.seed,
            fingerprint=keys.fingerprint(
                [*corpus.triple_ids.tolist(), *corpus.instruction_ids.tolist()]
            ),
            simulated=release.simulated,
        )
        test = load_corpus(session, settings.release, ["test"]).triple_ids
        held_out = rng.permutation(test)[:_HELD_OUT_TRIPLES].tolist()
        return RunContext(
            run.id,
            run.name,
            corpus,
            held_out,
            _subsample(accepted, rng),
            _subsample(rejected, rng),
        )


def _load_enough(
    session: Session, settings: TrainSettings, *, instructions: bool = False
) -> Corpus:
    corpus = load_corpus(session, settings.release, ["train"], instructions=instructions)
    if len(corpus) < MIN_TRIPLES:
        raise InvalidError(
            f"release {settings.release} has {len(corpus)} triples on train images;"
            f" training needs {MIN_TRIPLES}",
            hint="release more, with a lower threshold",
        )
    return corpus


def _subsample(ids: Sequence[int], rng: np.random.Generator) -> list[int]:
    chosen = rng.permutation(np.array(ids, np.int64))[:_MAX_CALIBRATION_TRIPLES]
    return sorted(int(i) for i in chosen)


def _prepare(
    store: Store, settings: TrainSettings, context: RunContext, folder: Path, progress: Progress
) -> tuple[TrainableStudent, BatchLoader]:
    total = _base_steps(settings) + settings.steps
    student = initial_student(
        store,
        settings,
        context.corpus,
        _checkpoint_dir(folder) if distributed.is_main() else None,
        lambda step: progress(step, total),
    )
    return student, BatchLoader(store, student, context.corpus, settings)


def _fit(
    student: TrainableStudent,
    loader: BatchLoader,
    settings: TrainSettings,
    *,
    held_out: list[int],
    folder: Path,
    progress: Progress,
) -> None:
    held_out_examples = loader.fixed_examples(held_out)
    base_steps = _base_steps(settings)
    log = TrainingLog(folder)

    def on_step(record: StepRecord) -> None:
        log.write(record)
        progress(base_steps + record.step, base_steps + settings.steps)

    config = FitConfig(
        steps=settings.steps,
        learning_rate=settings.learning_rate or _default_learning_rate(settings),
        checkpoint_dir=_checkpoint_dir(folder),
        on_start=log.open_at,
        evaluate=lambda: _evaluate(student, held_out_examples),
        on_step=on_step,
        checkpoint_config={
            name: str(value) for name, value in dataclasses.asdict(settings).items()
        },
    )
    torch.manual_seed(settings.seed)
    try:
        fit(student, loader, config)
    finally:
        log.close()


def _checkpoint_dir(folder: Path) -> Path:
    """Where a run keeps its checkpoint until it is done."""
    return folder / "unfinished"


def _base_steps(settings: TrainSettings) -> int:
    """Steps of pretraining, before the student's own."""
    return settings.base_steps if settings.model == TINY else 0


def _default_learning_rate(settings: TrainSettings) -> float:
    if settings.model == TINY:
        return _TINY_LEARNING_RATE
    return _LORA_LEARNING_RATE if settings.kind == "chat" else _LEARNING_RATE


def _evaluate(student: TrainableStudent, held_out: Sequence[ImageExamples]) -> Evaluation:
    """Return the loss on held-out triples, and answers to some of them."""
    if not held_out:
        return Evaluation()
    samples = []
    for group in held_out[:_SAMPLES]:
        example = group.examples[0]
        answer = student.answer(Query(group.view, example.question))
        samples.append(Sample(group.image_id, example.question, example.answer, answer.answer))
    return Evaluation(student.mean_loss(held_out), tuple(samples))


def _results(
    student: TrainableStudent,
    loader: BatchLoader,
    context: RunContext,
    settings: TrainSettings,
    confidence: Confidence | None,
) -> StudentResults:
    corpus = context.corpus
    trainable, frozen = count_parameters(student.network)
    evaluated = context.held_out or corpus.triple_ids[:_HELD_OUT_TRIPLES].tolist()
    held_out_loss, mismatched_image_loss = visual_grounding_check(
        student, loader.fixed_examples(evaluated)
    )
    return StudentResults(
        release=settings.release,
        model=settings.model,
        kind=settings.kind,
        triples=len(corpus),
        instructions=len(corpus.instruction_ids),
        held_out_loss=held_out_loss,
        mismatched_image_loss=mismatched_image_loss,
        trainable_parameters=trainable,
        frozen_parameters=frozen,
        confidence=confidence,
        truncated_texts=student.diagnostics.truncated_texts,
        reduced_micro_batch_size=student.diagnostics.reduced_micro_batch_size,
        unreadable_images=len(loader.unreadable),
        unreadable_example=next(iter(loader.unreadable.values()), None),
        processes=distributed.world_size(),
    )


def visual_grounding_check(
    student: TrainableStudent, batch: Sequence[ImageExamples]
) -> tuple[float, float | None]:
    """Return the mean loss with each text's own image, and with the image of another text.

    A student that uses the image has a higher loss with another. None if there is only one image.
    """
    others = [
        next((other for other in reversed(batch) if other.image_id != group.image_id), None)
        for group in batch
    ]
    mismatched = [
        dataclasses.replace(group, view=dataclasses.replace(group.view, image=other.view.image))
        for group, other in zip(batch, others, strict=True)
        if other is not None
    ]
    return student.mean_loss(batch), student.mean_loss(mismatched) if mismatched else None


def _save(student: TrainableStudent, folder: Path, confidence: Confidence | None) -> None:
    """Write the student, whole or not at all."""
    with replace_folder(folder / "student") as new:
        registry.save(student, new)
        if confidence:
            confidence.save(new)


def _with_last_checkpoint(error: UserError, student: TrainableStudent, folder: Path) -> UserError:
    """After a loss that is not finite, save the last checkpoint as a student and name it."""
    checkpoint = load_checkpoint(_checkpoint_dir(folder))
    if checkpoint is None:
        return error
    student.network.load_state_dict(checkpoint["model"], strict=False)
    _save(student, folder, None)
    step = checkpoint["state"]["step"]
    hint = f"{error.hint}; the student of step {step} is in {folder / 'student'}, for --model"
    return UserError(error.problem, where=error.where, hint=hint)
