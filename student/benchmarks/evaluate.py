"""A student on a benchmark: every item's answer is kept, figures have intervals by image."""

import time
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from db.images.image_files import decode
from db.parallel.prefetch import prefetch
from db.schema import Run
from db.store import json_lines, runs
from db.store.session import Store
from regions import references
from regions.errors import UserError
from regions.progress import Progress, no_progress
from student.asking.inference import Loader, ready
from student.benchmarks import paper
from student.benchmarks.protocol import Benchmark, Item, Reading
from student.models.protocol import Ask, Student

NAMES = ("vcr", "sherlock", "visualcomet", "aokvqa", "snli-ve", "visual7w", "pope", "held-out")
_RESAMPLES = 1000
_TOGETHER = 8
"""Items at once."""


def benchmark(name: str) -> Benchmark:
    """A benchmark by its name; UserError where there is none."""
    if name not in NAMES:
        raise UserError(f"no benchmark {name!r}", hint=f"use one of {', '.join(NAMES)}")
    found: Any = import_module(f"student.benchmarks.{name.replace('-', '_')}")
    return found  # type: ignore[no-any-return]  # a module that satisfies the protocol


def evaluate(
    store: Store,
    run_name: str | None,
    name: str,
    folder: Path,
    *,
    most: int = 0,
    progress: Progress = no_progress,
    loader: Loader = ready,
) -> dict[str, Any]:
    """Figures of a student (None: the newest) on a benchmark, and how many items were left out.

    `most` items are looked at, evenly spread; 0: all. What was answered before a stop is not asked
    again. UserError for a folder with other files than the official ones.
    """
    began, measured, reading = time.perf_counter(), benchmark(name), Reading()
    if most < 0:
        raise UserError(f"{most} items", hint="use --most 1 or more, or 0 for all")
    items = _items(measured, folder, reading)
    if not items:
        reasons = ", ".join(f"{count} x {why}" for why, count in reading.left_out.items())
        raise UserError(
            f"nothing of {measured.title} can be asked: {reasons or 'its file is empty'}",
            where=str(folder),
            hint="check --data",
        )
    if most:
        spread = np.linspace(0, len(items) - 1, min(most, len(items))).astype(int)
        items = [items[n] for n in spread]
    with store.read() as session:
        run = runs.newest(session, "student", run_name)
    home = runs.folder(store, run.name)
    student = loader(run, home / "student").student
    rows = answers_file(home, name)
    found = _asked(student, measured, items, rows.with_suffix(".part"), progress)
    rows.with_suffix(".part").replace(rows)
    told = {
        "items": len(items),
        "left out": dict(reading.left_out),
        **_figures(measured, items, found),
        "seconds": time.perf_counter() - began,
    }
    with store.write() as session:
        kept = session.get_one(Run, run.id)
        kept.results = kept.results | {
            "benchmarks": kept.results.get("benchmarks", {}) | {name: told}
        }
    return {"run": run.name, "benchmark": measured.title, **told}


def _items(measured: Benchmark, folder: Path, reading: Reading) -> list[Item]:
    try:
        return list(measured.items(folder, reading))
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(
            f"the files are not those of {measured.title} ({what:.120})",
            where=str(folder),
            hint="fetch the official ones",
        ) from error


def answers_file(home: Path, name: str) -> Path:
    """Where a run's answers to a benchmark lie, a line an item."""
    return home / "benchmarks" / f"{name}.jsonl"


def _asked(
    student: Student,
    measured: Benchmark,
    items: Sequence[Item],
    file: Path,
    progress: Progress,
) -> list[list[Any]]:
    """What a student finds for each item; written down as it goes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    done = {row["key"]: row["found"] for row in json_lines.open_for_append(file)}
    left = [item for item in items if item.key not in done]
    pieces = [left[start : start + _TOGETHER] for start in range(0, len(left), _TOGETHER)]
    looks = prefetch((partial(_looked, student, piece) for piece in pieces), threads=2, limit=4)
    with file.open("a", encoding="utf-8") as out:
        for piece, asks in zip(pieces, looks, strict=True):
            for item, found in zip(piece, _answered(student, piece, asks), strict=True):
                done[item.key] = found
                row = {
                    "key": item.key,
                    "image": str(item.image.absolute()),
                    "regions": [[one.number, *one.box] for one in item.regions],
                    "questions": [[q.text, list(q.choices), q.truth] for q in item.questions],
                    "found": found,
                    "counts": measured.counts(item, found),
                }
                out.write(json_lines.to_line(row))
            out.flush()
            progress(len(done), len(items))
    return [done[item.key] for item in items]


def _looked(student: Student, items: Sequence[Item]) -> list[list[tuple[Ask, list[str]]]]:
    """Each item as its student sees it: a question and its choices, in the numbers of the marks."""
    found = []
    for item in items:
        picture = decode(item.image, str(item.image))
        shown = [one.number for one in item.regions]
        asks = []
        for question in item.questions:
            # Sentences of a benchmark may hold brackets that point at nothing.
            texts = [
                references.drop_other_references(text, shown)
                for text in (question.text, *question.choices)
            ]
            view = student.look(picture, item.regions, texts, shown)
            asks.append((Ask(view, view.texts[0]), list(view.texts[1:])))
        found.append(asks)
    return found


def _answered(
    student: Student, items: Sequence[Item], looks: Sequence[list[tuple[Ask, list[str]]]]
) -> list[list[Any]]:
    """Scores of the choices; the text of an item that is to be written, where a student writes."""
    writes = student.writes
    ranked = [
        pair
        for item, asks in zip(items, looks, strict=True)
        for pair in asks
        if not (item.written and writes)
    ]
    scores = iter(student.rank([ask for ask, _ in ranked], [some for _, some in ranked]))
    return [
        [
            student.answer(ask).answer if item.written and writes else next(scores).tolist()
            for ask, _ in asks
        ]
        for item, asks in zip(items, looks, strict=True)
    ]


def _figures(
    measured: Benchmark, items: Sequence[Item], found: Sequence[Sequence[Any]]
) -> dict[str, Any]:
    """The official figures, with 95 % intervals by image."""
    counts = [measured.counts(item, one) for item, one in zip(items, found, strict=True)]
    images, places = np.unique([str(item.image) for item in items], return_inverse=True)
    sums: dict[str, NDArray[np.float64]] = {}
    for name in counts[0]:
        weights = [one[name] for one in counts]
        sums[name] = np.bincount(places, weights, minlength=len(images)).astype(np.float64)
    values = measured.figures({name: column.sum() for name, column in sums.items()})
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(images), np.full(len(images), 1 / len(images)), size=_RESAMPLES)
    again = measured.figures({name: drawn @ column for name, column in sums.items()})
    return {
        "figures": {
            name: {"value": _number(value), "interval": _bounds(again[name])}
            for name, value in values.items()
        }
    }


def _bounds(found: NDArray[np.float64]) -> list[float | None]:
    if np.isnan(found).mean() > 0.5:  # noqa: PLR2004 - half
        return [None, None]
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return [float(low), float(high)]


def _number(value: Any) -> float | None:  # noqa: ANN401 - numpy's
    return None if np.isnan(value) else float(value)


def table(store: Store, names: Sequence[str]) -> list[dict[str, Any]]:
    """Students (none: all of them) beside the paper's rows, a column a figure."""
    with store.read() as session:
        query = select(Run).where(Run.kind == "student", Run.status == "done").order_by(Run.id)
        found = [run for run in session.scalars(query) if not names or run.name in names]
    if lost := set(names) - {run.name for run in found}:
        raise UserError(f"no student run named {min(lost)!r}", hint="see `lskd status`")
    rows: list[dict[str, Any]] = [
        {"student": title, **dict(zip(paper.COLUMNS, figures, strict=True))}
        for title, figures in paper.ROWS.items()
    ]
    for run in found:
        row: dict[str, Any] = {"student": run.name}
        for name, told in run.results.get("benchmarks", {}).items():
            measured = benchmark(name)
            own = tuple(f"{measured.title} {one}" for one in told["figures"])
            for column, one in zip(measured.paper or own, told["figures"].values(), strict=True):
                row[column] = one["value"]
                row[f"{column} interval"] = one["interval"]
        rows.append(row)
    columns = list(dict.fromkeys([*paper.COLUMNS, *(name for row in rows for name in row)]))
    columns.remove("student")
    return [{"student": row["student"], **{c: row.get(c) for c in columns}} for row in rows]


def errors(
    store: Store, run_name: str | None, name: str, *, first: int = 0, most: int = 20
) -> dict[str, Any]:
    """Items of a benchmark that a student got wrong, the first of them from `first` on."""
    with store.read() as session:
        run = runs.newest(session, "student", run_name)
    rows = json_lines.read_rows(answers_file(runs.folder(store, run.name), benchmark(name).name))
    if not rows:
        raise UserError(f"{run.name} was not evaluated on {name}", hint="`lskd student evaluate`")
    wrong = [row for row in rows if _is_wrong(row["counts"])]
    return {"items": len(rows), "wrong": len(wrong), "rows": wrong[first : first + most]}


def _is_wrong(counts: dict[str, float]) -> bool:
    """Whether an item adds less than it could to any figure."""
    return any(
        value < 1 for name, value in counts.items() if name not in {"yes", "true yes", "truly"}
    )


def chosen(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Each question of a kept row, and what the student chose or wrote."""
    found = []
    for (question, choices, _), said in zip(row["questions"], row["found"], strict=True):
        words = said if isinstance(said, str) else choices[int(np.argmax(said))]
        found.append((question, words))
    return found
