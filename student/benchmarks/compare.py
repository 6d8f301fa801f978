"""Comparison of students with each other and with the paper's figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from db.schema import Run
from db.store.results import Estimate
from db.store.session import Store
from regions.errors import NotFoundError
from student.benchmarks import paper
from student.benchmarks.evaluate import get_benchmark
from student.results import BenchmarkResult, figure_title, results_of


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """A student's figures in per cent, by column; those it was not evaluated on are missing."""

    student: str
    figures: dict[str, Estimate]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Figures of students, one column per figure."""

    columns: list[str]
    rows: list[ComparisonRow]


def compare(store: Store, names: Sequence[str]) -> Comparison:
    """Return the paper's models and these runs (none: all student runs)."""
    with store.read() as session:
        query = select(Run).where(Run.kind == "student", Run.status == "done").order_by(Run.id)
        runs = [run for run in session.scalars(query) if not names or run.name in names]
    if unknown := set(names) - {run.name for run in runs}:
        raise NotFoundError(f"no student run named {min(unknown)!r}", hint="see `lskd status`")
    rows = [
        ComparisonRow(
            model,
            {
                column: Estimate(figure)
                for column, figure in zip(paper.COLUMNS, figures, strict=True)
            },
        )
        for model, figures in paper.ROWS.items()
    ]
    rows += [ComparisonRow(run.name, _by_column(results_of(run).benchmarks)) for run in runs]
    columns = list(dict.fromkeys([*paper.COLUMNS, *(c for row in rows for c in row.figures)]))
    return Comparison(columns, rows)


def _by_column(results: dict[str, BenchmarkResult]) -> dict[str, Estimate]:
    figures: dict[str, Estimate] = {}
    for name, result in results.items():
        benchmark = get_benchmark(name)
        columns = benchmark.paper_columns or [
            f"{benchmark.title} {figure_title(figure)}" for figure in result.figures
        ]
        figures |= dict(zip(columns, result.figures.values(), strict=True))
    return figures
