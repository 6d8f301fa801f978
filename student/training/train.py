"""Training a student on a release: one run, read downwards."""

import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sqlalchemy.orm import Session

from blip2.training import distributed
from blip2.training.trainer import NonFiniteLossError, load_checkpoint
from db.schema import Release, Run
from db.store import keys, queries, runs
from db.store.files import replace_folder
from db.store.locks import exclusive_lock
from db.store.session import Store
from regions.errors import UserError
from regions.progress import Progress, no_progress
from student.asking.confidence import Confidence, calibrated, sides, some
from student.models import registry
from student.models.freezing import sizes
from student.models.protocol import Ask, Scene, Schedule, Trainable
from student.publishing import model_card
from student.settings import TINY, TrainSettings
from student.training.batches import StoreLessons
from student.training.corpus import Corpus, check_pictures, corpus
from student.training.resource_estimate import forecast
from student.training.training_log import Journal

LEAST = 8
"""Kept triples on images to learn from."""
_HELD, _EXAMPLES = 32, 3
"""Triples of test images that are looked at on the way, and those that are answered in words."""
_RATES = {"chat": 1e-4}
_RATE, _TINY_RATE = 1e-5, 1e-3

Told = Callable[[dict[str, Any]], None]


@dataclasses.dataclass(frozen=True, slots=True)
class _Begun:
    """A run, and what it learns from and is looked at on."""

    run_id: int
    name: str
    corpus: Corpus
    held: list[int]
    right: list[int]
    wrong: list[int]


def train(
    store: Store,
    settings: TrainSettings,
    progress: Progress = no_progress,
    *,
    foretold: Told = lambda _: None,
) -> Run:
    """Learn from what a release kept on train images; test images are held out.

    A run that was stopped goes on where the same settings meet the same triples. `foretold` gets
    the forecast before the first step. What is saved appears whole or not at all. UserError for a
    release that is not there or has too few triples, missing pictures, a model that cannot be
    loaded, a loss that is not finite, a full disk.
    """
    settings.check()
    begun = distributed.broadcast(lambda: _begin(store, settings))
    folder = runs.folder(store, begun.name)
    if not distributed.is_main():
        student, lessons = _made(store, settings, begun, folder, progress)
        forecast(student, lessons)  # whose steps all take together
        _fit(student, lessons, settings, held=begun.held, folder=folder, progress=progress)
        with store.read() as session:
            return session.get_one(Run, begun.run_id)
    with (
        exclusive_lock(store, f"training {begun.name}"),
        runs.mark_failed_on_error(store, begun.run_id),
    ):
        start = time.perf_counter()
        student, lessons = _made(store, settings, begun, folder, progress)
        foretold(forecast(student, lessons))
        try:
            _fit(student, lessons, settings, held=begun.held, folder=folder, progress=progress)
        except UserError as error:
            raise _with_what_is_left(error, student, folder) from error
        right, wrong = lessons.plain(begun.right), lessons.plain(begun.wrong)
        confidence = calibrated(student, right, wrong)
        results = _results(student, lessons, begun, confidence)
        results |= {"release": settings.release, "model": settings.model, "kind": settings.kind}
        _keep(student, folder, confidence)
        results["seconds"] = time.perf_counter() - start
        with store.write() as session:
            runs.finish(session, begun.run_id, results)
    shutil.rmtree(folder / "unfinished", ignore_errors=True)
    with store.read() as session:
        run = session.get_one(Run, begun.run_id)
        (folder / "student" / "README.md").write_text(model_card.card(session, run), "utf-8")
    return run


def foreseen(store: Store, settings: TrainSettings) -> dict[str, Any]:
    """What memory and time a training would take; nothing is written."""
    settings.check()
    with store.write() as session:  # images that came since are split now
        learn = _enough(corpus(session, settings.release, ["train"]), settings)
    quick = dataclasses.replace(settings, base_steps=min(settings.base_steps, 2))
    student = registry.made(store, quick, learn)
    return forecast(student, StoreLessons(store, student, learn, settings))


def _begin(store: Store, settings: TrainSettings) -> _Begun:
    with store.write() as session:
        told = settings.instructions > 0
        learn = _enough(corpus(session, settings.release, ["train"], instructions=told), settings)
        if told and not len(learn.instructions):
            raise UserError(
                "no instructions about images to learn from", hint="see `lskd generate --help`"
            )
        images = np.unique(np.concatenate([learn.images, learn.instruction_images]))
        check_pictures(session, images)
        release = queries.by_name(session, Release, settings.release)
        right, wrong = sides(session, release, "calibration")
        rng = np.random.default_rng(settings.seed)
        run = _run(session, settings, learn, simulated=release.simulated)
        held = corpus(session, settings.release, ["test"]).triples
        chosen = rng.permutation(held)[:_HELD].tolist()
        return _Begun(run.id, run.name, learn, chosen, some(right, rng), some(wrong, rng))


def _enough(learn: Corpus, settings: TrainSettings) -> Corpus:
    if len(learn) < LEAST:
        raise UserError(
            f"{settings.release} kept {len(learn)} triples to learn from; {LEAST} are needed",
            hint="release more, with a lower threshold",
        )
    return learn


def _run(session: Session, settings: TrainSettings, learn: Corpus, *, simulated: bool) -> Run:
    """A new run, or the one that was stopped."""
    return runs.start_or_resume(
        session,
        "student",
        settings=dataclasses.asdict(settings),
        name=settings.name,
        seed=settings.seed,
        fingerprint=keys.fingerprint([*learn.triples.tolist(), *learn.instructions.tolist()]),
        simulated=simulated,
    )


def _made(
    store: Store, settings: TrainSettings, begun: _Begun, folder: Path, progress: Progress
) -> tuple[Trainable, StoreLessons]:
    before = _base_steps(settings)
    student = registry.made(
        store,
        settings,
        begun.corpus,
        folder / "unfinished" if distributed.is_main() else None,
        lambda step: progress(step, before + settings.steps),
    )
    return student, StoreLessons(store, student, begun.corpus, settings)


def _fit(
    student: Trainable,
    lessons: StoreLessons,
    settings: TrainSettings,
    *,
    held: list[int],
    folder: Path,
    progress: Progress,
) -> None:
    scenes = lessons.plain(held)
    before = _base_steps(settings)
    journal = Journal(folder)

    def log(told: dict[str, Any]) -> None:
        journal.log(told)
        progress(before + told["step"], before + settings.steps)

    rate = _TINY_RATE if settings.model == TINY else _RATES.get(settings.kind, _RATE)
    schedule = Schedule(
        settings.steps,
        settings.rate or rate,
        folder / "unfinished",
        journal.begin,
        lambda _: _look(student, scenes),
        log,
        {name: str(value) for name, value in dataclasses.asdict(settings).items()},
    )
    torch.manual_seed(settings.seed)
    try:
        student.fit(lessons, schedule)
    finally:
        journal.close()


def _base_steps(settings: TrainSettings) -> int:
    """Steps before the first one of the student's own."""
    return settings.base_steps if settings.model == TINY else 0


def _look(student: Trainable, held: Sequence[Scene]) -> dict[str, Any]:
    """What is known of a student on the way: its loss on what it has not seen, and examples."""
    if not held:
        return {}
    examples = []
    for scene in held[:_EXAMPLES]:
        lesson = scene.lessons[0]
        said = student.answer(Ask(scene.view, lesson.question))
        examples.append(
            {
                "image": scene.image_id,
                "question": lesson.question,
                "people": lesson.answer,
                "student": said.answer,
            }
        )
    return {"held-out loss": student.loss(held), "examples": examples}


def _results(
    student: Trainable, lessons: StoreLessons, begun: _Begun, confidence: Confidence | None
) -> dict[str, Any]:
    learned, frozen = sizes(student.network)
    held = lessons.plain(begun.held or begun.corpus.triples[:_HELD].tolist())
    return {
        "triples": len(begun.corpus),
        "instructions": len(begun.corpus.instructions),
        **_looks(student, held),
        "weights that learned": learned,
        "frozen weights": frozen,
        "confidence": dataclasses.asdict(confidence) if confidence else None,
        **student.notes,
        **({"processes": distributed.world_size()} if distributed.world_size() > 1 else {}),
    }


def _looks(student: Trainable, scenes: Sequence[Scene]) -> dict[str, float]:
    """Does it look at the picture? The loss with the right one, and with another image's."""
    found = {"held-out loss": student.loss(scenes)}
    others = [
        next((other for other in reversed(scenes) if other.image_id != scene.image_id), None)
        for scene in scenes
    ]
    wrong = [
        dataclasses.replace(scene, view=dataclasses.replace(scene.view, image=other.view.image))
        for scene, other in zip(scenes, others, strict=True)
        if other is not None
    ]
    return found | ({"loss with another picture": student.loss(wrong)} if wrong else {})


def _keep(student: Trainable, folder: Path, confidence: Confidence | None) -> None:
    """Write the student whole or not at all."""
    with replace_folder(folder / "student") as part:
        registry.save(student, part)
        if confidence:
            confidence.save(part)


def _with_what_is_left(error: UserError, student: Trainable, folder: Path) -> UserError:
    """The error, and where the last good state is, if there is one."""
    checkpoint = load_checkpoint(folder / "unfinished")
    if checkpoint is None or not isinstance(error, NonFiniteLossError):
        return error
    student.network.load_state_dict(checkpoint["model"], strict=False)
    _keep(student, folder, None)
    step = checkpoint["state"]["step"]
    todo = f"{error.hint}; as it was at step {step} it is in {folder / 'student'}, for --model"
    return UserError(error.problem, where=error.where, hint=todo)
