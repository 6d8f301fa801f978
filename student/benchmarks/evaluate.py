"""Evaluation of a student on a benchmark: resumable, with 95 % intervals by image."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.images.image_files import decode
from db.parallel.prefetch import prefetch
from db.schema import Run
from db.store import json_lines, runs
from db.store.results import Estimate, to_json
from db.store.session import Store
from regions import references
from regions.errors import InvalidError, NotFoundError, UserError
from regions.progress import Progress, no_progress
from student.asking.inference import StudentLoader, load_student
from student.benchmarks.item_records import ItemRecord, read_records, records_file
from student.benchmarks.loading import load_items
from student.benchmarks.protocol import Benchmark, Item
from student.models import registry
from student.models.protocol import Query, Student
from student.results import BenchmarkResult

NAMES = ("vcr", "sherlock", "visualcomet", "aokvqa", "snli-ve", "visual7w", "pope", "held-out")
_RESAMPLES = 1000
_BATCH_SIZE = 8
"""Items answered together."""
_MAX_UNDEFINED = 0.5
"""Share of the resamples in which a figure may be undefined."""

ItemQueries = list[tuple[Query, list[str]]]
"""A query and its choices for each question of an item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport(BenchmarkResult):
    """A `BenchmarkResult`, with the run and the title of the benchmark."""

    run: str
    benchmark: str


@dataclass(frozen=True, slots=True)
class Errors:
    """Items of a benchmark that a student got wrong."""

    items: int
    """Number of all items."""
    wrong: int
    """Number of wrong items."""
    records: list[ItemRecord]
    """Some of the wrong items."""


def get_benchmark(name: str) -> Benchmark:
    """Return a benchmark by its name; NotFoundError if there is none."""
    if name not in NAMES:
        raise NotFoundError(f"no benchmark named {name!r}", hint=f"use one of {', '.join(NAMES)}")
    module: Any = import_module(f"student.benchmarks.{name.replace('-', '_')}")
    return module  # type: ignore[no-any-return]  # a module that implements the protocol


def evaluate(
    store: Store,
    run_name: str | None,
    name: str,
    folder: Path,
    *,
    limit: int = 0,
    progress: Progress = no_progress,
    loader: StudentLoader = load_student,
) -> EvaluationReport:
    """Evaluate a run's student (None: the newest run) on a benchmark, and store the result.

    `limit` items are used, evenly spaced; 0: all. After an interruption, items that were answered
    are not answered again. UserError if `folder` does not hold the official files.
    """
    began, benchmark = time.perf_counter(), get_benchmark(name)
    if limit < 0:
        raise InvalidError(f"--limit must not be negative (got {limit})", hint="use 0 for all")
    loaded = load_items(benchmark, folder)
    items = loaded.items
    if limit:
        chosen = np.linspace(0, len(items) - 1, min(limit, len(items))).astype(int)
        items = [items[n] for n in chosen]
    with store.read() as session:
        run = runs.newest(session, "student", run_name)
    run_folder = runs.folder(store, run.name)
    student = loader(run, registry.student_folder(run_folder)).student
    file = records_file(run_folder, name)
    partial_file = file.with_suffix(".part")
    outputs, unreadable = _answer_all(student, benchmark, items, partial_file, progress)
    items = [item for item in items if item.key in outputs]
    if not items:
        raise InvalidError(f"no image can be read: {next(iter(unreadable), '')}")
    skipped = loaded.skipped | unreadable
    partial_file.replace(file)
    figures = _figures(benchmark, items, [outputs[item.key] for item in items])
    seconds = time.perf_counter() - began
    result = BenchmarkResult(len(items), skipped, figures, seconds, loaded.repeated_keys)
    with store.write() as session:
        stored = session.get_one(Run, run.id)
        benchmarks = stored.results.get("benchmarks", {}) | {name: to_json(result)}
        stored.results = stored.results | {"benchmarks": benchmarks}
    return EvaluationReport(
        items=len(items),
        skipped=skipped,
        figures=figures,
        seconds=seconds,
        repeated_keys=loaded.repeated_keys,
        run=run.name,
        benchmark=benchmark.title,
    )


def find_errors(
    store: Store, run_name: str | None, name: str, *, start: int = 0, limit: int = 20
) -> Errors:
    """Return the wrong items of an evaluation, at most `limit` from the `start`-th on."""
    with store.read() as session:
        run = runs.newest(session, "student", run_name)
    records = read_records(records_file(runs.folder(store, run.name), get_benchmark(name).name))
    if not records:
        raise NotFoundError(
            f"{run.name} has not been evaluated on {name}", hint="run `lskd student evaluate`"
        )
    wrong = [record for record in records if record.is_wrong]
    return Errors(len(records), len(wrong), wrong[start : start + limit])


def _answer_all(
    student: Student,
    benchmark: Benchmark,
    items: Sequence[Item],
    file: Path,
    progress: Progress,
) -> tuple[dict[str, list[Any]], dict[str, int]]:
    """Return the student's outputs by item; new ones are appended to `file` as they come.

    Items whose image cannot be read are left out; the second result counts them by reason.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    outputs = _stored_outputs(items, file)
    unreadable: Counter[str] = Counter()
    left = [item for item in items if item.key not in outputs]
    batches = [left[start : start + _BATCH_SIZE] for start in range(0, len(left), _BATCH_SIZE)]
    prepared = prefetch(
        (partial(_prepare, student, batch) for batch in batches), threads=2, limit=4
    )
    with file.open("a", encoding="utf-8") as out:
        for batch, prepared_items in zip(batches, prepared, strict=True):
            unreadable.update(
                str(error) for error in prepared_items if isinstance(error, UserError)
            )
            answered: list[Item] = []
            queries: list[ItemQueries] = []
            for item, entry in zip(batch, prepared_items, strict=True):
                if not isinstance(entry, UserError):
                    answered.append(item)
                    queries.append(entry)
            if not answered:
                continue
            for item, output in zip(answered, _answer(student, answered, queries), strict=True):
                outputs[item.key] = output
                record = ItemRecord.of(item, output, benchmark.count_item(item, output))
                out.write(json_lines.to_line(record.to_row()))
            out.flush()
            progress(len(outputs), len(items))
    return outputs, dict(unreadable)


def _stored_outputs(items: Sequence[Item], file: Path) -> dict[str, list[Any]]:
    """Return the outputs of an interrupted evaluation by key; answers to other items are removed.

    The official files may have been replaced since.
    """
    by_key = {item.key: item for item in items}
    rows = json_lines.open_for_append(file)
    records = {row["key"]: ItemRecord.from_row(row) for row in rows}
    outputs = {
        key: record.outputs
        for key, record in records.items()
        if key in by_key and record == ItemRecord.of(by_key[key], record.outputs, record.counts)
    }
    if len(outputs) < len(rows):
        kept = (record.to_row() for key, record in records.items() if key in outputs)
        file.write_text("".join(json_lines.to_line(row) for row in kept), "utf-8")
    return outputs


def _prepare(student: Student, items: Sequence[Item]) -> list[ItemQueries | UserError]:
    """Return the queries of each item, in the numbers of the student's view, or an error."""
    prepared: list[ItemQueries | UserError] = []
    for item in items:
        try:
            image = decode(item.image, str(item.image))
        except UserError as error:
            prepared.append(error)
            continue
        shown = [region.number for region in item.regions]
        queries = []
        for question in item.questions:
            # Texts of a benchmark may contain brackets that are no references.
            texts = [
                references.drop_other_references(text, shown)
                for text in (question.text, *question.choices)
            ]
            view = student.make_view(image, item.regions, texts, shown)
            queries.append((Query(view, view.texts[0]), list(view.texts[1:])))
        prepared.append(queries)
    return prepared


def _answer(
    student: Student, items: Sequence[Item], prepared: Sequence[ItemQueries]
) -> list[list[Any]]:
    """Scores of the choices of each question, or the generated text if the metric reads it."""
    generates = [item.reads_text and student.can_generate for item in items]
    ranked = [
        pair
        for is_generated, queries in zip(generates, prepared, strict=True)
        if not is_generated
        for pair in queries
    ]
    scores = iter(student.rank([query for query, _ in ranked], [choices for _, choices in ranked]))
    return [
        [
            student.answer(query).answer if is_generated else next(scores).tolist()
            for query, _ in queries
        ]
        for is_generated, queries in zip(generates, prepared, strict=True)
    ]


def _figures(
    benchmark: Benchmark, items: Sequence[Item], outputs: Sequence[Sequence[Any]]
) -> dict[str, Estimate]:
    """Return the official figures, with percentile bootstrap intervals over images."""
    counts = [benchmark.count_item(*pair) for pair in zip(items, outputs, strict=True)]
    images, image_index = np.unique([str(item.image) for item in items], return_inverse=True)
    by_image: dict[str, NDArray[np.float64]] = {}
    for name in counts[0]:
        weights = [count[name] for count in counts]
        sums = np.bincount(image_index, weights, minlength=len(images))
        by_image[name] = sums.astype(np.float64)
    values = benchmark.figures({name: sums.sum() for name, sums in by_image.items()})
    rng = np.random.default_rng(0)
    uniform = np.full(len(images), 1 / len(images))
    draws = rng.multinomial(len(images), uniform, size=_RESAMPLES)
    resampled = benchmark.figures({name: draws @ sums for name, sums in by_image.items()})
    return {
        name: Estimate(None if np.isnan(value) else float(value), *_interval(resampled[name]))
        for name, value in values.items()
    }


def _interval(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    if np.isnan(values).mean() > _MAX_UNDEFINED:
        return None, None
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
