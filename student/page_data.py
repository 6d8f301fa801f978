"""Data of the demo page: images to ask about, students, how they were trained, their errors."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from db.images import image_files
from db.images.records import ImageRecord, image_record
from db.schema import Image, Release, Run, Split
from db.store import queries, runs
from db.store.session import Store
from regions.errors import UserError
from regions.geometry import Region, fit_within
from regions.marks import draw_regions
from student.benchmarks.evaluate import find_errors
from student.benchmarks.item_records import ItemRecord
from student.models.caption_baseline import KIND as CAPTION_BASELINE
from student.results import results_of
from student.settings import TINY
from student.training.training_log import Sample, read_log

_MAX_IMAGES, _MAX_RUNS, _MAX_POINTS, _MAX_ERRORS = 60, 8, 300, 10
_THUMBNAIL_SIDE = 280
"""The longer side of the image of a wrong item, in pixels."""


class DemoImage(ImageRecord):
    """An image, and whether it was held out of training."""

    held_out: bool


@dataclass(frozen=True, slots=True)
class StudentItem:
    """A student, its model and training data, and the benchmarks it was evaluated on."""

    name: str
    kind: str
    model: str
    is_tiny: bool
    captioner: str | None
    """The model that describes regions, of a caption baseline."""
    release: str | None
    """None for a released checkpoint and a caption baseline."""
    triples: int | None
    simulated: bool
    benchmarks: list[str]


@dataclass(frozen=True, slots=True)
class Overview:
    """Images (those held out of training last), and students and releases, newest first."""

    images: list[DemoImage]
    students: list[StudentItem]
    releases: list[str]


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image with its regions."""

    image: DemoImage
    regions: list[Region]


@dataclass(frozen=True, slots=True)
class SampledStep:
    """Answers to held-out questions after a step of training."""

    step: int
    samples: list[Sample]


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Losses of a run as pairs of step and loss, and its answers during training."""

    name: str
    status: str
    loss: list[tuple[int, float | None]]
    held_out_loss: list[tuple[int, float]]
    evaluations: list[SampledStep]


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """The state of a run in training; the loss is None before the first step."""

    name: str
    step: int
    steps: int
    loss: float | None


@dataclass(frozen=True, slots=True)
class ErrorQuestion:
    """A question of a wrong item; `target` is empty if it is not one of the choices."""

    question: str
    prediction: str
    target: str


@dataclass(frozen=True, slots=True)
class ErrorItem:
    """A wrong item; `image_url` is empty if the image's file is missing."""

    key: str
    image_url: str
    questions: list[ErrorQuestion]


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """Number of all items and of wrong items of a benchmark, and some of the wrong ones."""

    items: int
    wrong: int
    rows: list[ErrorItem]


def overview(store: Store) -> Overview:
    """Return the data that the page shows first."""
    with store.read() as session:
        held_out = set(session.scalars(select(Split.image_id).where(Split.part == "test")))
        images = session.scalars(select(Image).order_by(Image.id).limit(_MAX_IMAGES)).all()
        students = session.scalars(
            select(Run).where(Run.kind == "student", Run.status == "done").order_by(Run.id.desc())
        )
        return Overview(
            [
                _demo_image(image, held_out=image.id in held_out)
                for image in sorted(images, key=lambda image: (image.id in held_out, image.id))
            ],
            [student_item(run) for run in students],
            list(session.scalars(select(Release.name).order_by(Release.id.desc()))),
        )


def annotated_image(store: Store, image_id: int) -> AnnotatedImage:
    """Return an image with its regions; NotFoundError if there is no such image."""
    with store.read() as session:
        image = queries.by_id(session, Image, image_id)
        regions = queries.regions_by_image(session, [image_id])[image_id]
        part = session.scalar(select(Split.part).where(Split.image_id == image_id))
        return AnnotatedImage(_demo_image(image, held_out=part == "test"), regions)


def student_item(run: Run) -> StudentItem:
    """Return the data of a student's run for the demo page."""
    results = results_of(run)
    is_baseline = results.kind == CAPTION_BASELINE
    return StudentItem(
        name=run.name,
        kind=results.kind,
        model=results.model,
        is_tiny=results.model == TINY,
        captioner=run.settings["captioner"] if is_baseline else None,
        release=results.release,
        triples=results.triples,
        simulated=run.simulated,
        benchmarks=sorted(results.benchmarks),
    )


def learning_curves(store: Store) -> list[LearningCurve]:
    """How the newest students were trained."""
    with store.read() as session:
        query = select(Run).where(Run.kind == "student").order_by(Run.id.desc())
        newest = [(run.name, run.status) for run in session.scalars(query.limit(_MAX_RUNS))]
    curves = []
    for name, status in newest:
        log = read_log(runs.folder(store, name))
        if not log:
            continue
        stride = max(1, len(log) // _MAX_POINTS)
        curves.append(
            LearningCurve(
                name,
                status,
                [(record.step, record.loss) for record in log[::stride]],
                [(r.step, r.held_out_loss) for r in log if r.held_out_loss is not None],
                [SampledStep(r.step, list(r.samples)) for r in log if r.samples],
            )
        )
    return curves


def current_training(store: Store) -> TrainingProgress | None:
    """Return the progress of the student in training; None if there is none."""
    with store.read() as session:
        query = select(Run).where(Run.kind == "student", Run.status == "running")
        run = session.scalars(query.order_by(Run.id.desc())).first()
    if run is None:
        return None
    log = read_log(runs.folder(store, run.name))
    step, loss = (log[-1].step, log[-1].loss) if log else (0, None)
    return TrainingProgress(run.name, step, int(run.settings["steps"]), loss)


def error_page(store: Store, student: str, benchmark: str, start: int) -> ErrorPage:
    """Return the items that a student got wrong, from the `start`-th on."""
    errors = find_errors(store, student, benchmark, start=start, limit=_MAX_ERRORS)
    return ErrorPage(errors.items, errors.wrong, [_error_item(r) for r in errors.records])


def _error_item(record: ItemRecord) -> ErrorItem:
    questions = [
        ErrorQuestion(question.text, prediction, _target_text(question.target, question.choices))
        for question, prediction in zip(record.questions, record.predictions(), strict=True)
    ]
    return ErrorItem(record.key, _image_url(record), questions)


def _image_url(record: ItemRecord) -> str:
    """Return a small data URL of an item's image with its regions; empty if the file is missing."""
    try:
        image = image_files.decode(Path(record.image), record.key)
    except (UserError, OSError):
        return ""
    regions = [Region(int(number), (x1, y1, x2, y2)) for number, x1, y1, x2, y2 in record.regions]
    return image_files.to_data_url(
        draw_regions(image, regions, size=fit_within(*image.size, _THUMBNAIL_SIDE))
    )


def _target_text(target: Any, choices: list[str]) -> str:  # noqa: ANN401 - an index, or scores
    return choices[target] if isinstance(target, int) and target < len(choices) else ""


def _demo_image(image: Image, *, held_out: bool) -> DemoImage:
    return {**image_record(image), "held_out": held_out}
