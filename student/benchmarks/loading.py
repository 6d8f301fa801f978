"""Load the items of a benchmark: what would be scored wrongly is left out and counted."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from regions.errors import InvalidError
from student.benchmarks.protocol import Benchmark, Item, LoadReport

_MIN_CHOICES = 2


@dataclass(frozen=True, slots=True)
class LoadedItems:
    """The items that can be used, each with a key of its own."""

    items: list[Item]
    skipped: dict[str, int]
    """Number of items that cannot be used, by reason."""
    repeated_keys: int
    """Number of items whose key an item before them has too."""


def load_items(benchmark: Benchmark, folder: Path) -> LoadedItems:
    """Load a folder of official files; InvalidError if it holds others, or no item can be used."""
    report = LoadReport()
    try:
        items = list(_usable_items(benchmark, folder, report))
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InvalidError(
            f"these are not the files of {benchmark.title} ({reason:.120})",
            where=str(folder),
            hint="download the official files",
        ) from error
    if not items:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in report.skipped.items())
        raise InvalidError(
            f"no item of {benchmark.title} can be used: {reasons or 'its file is empty'}",
            where=str(folder),
            hint="check --data",
        )
    repeated = len(items) - len({item.key for item in items})
    return LoadedItems(with_unique_keys(items), dict(report.skipped), repeated)


def _usable_items(benchmark: Benchmark, folder: Path, report: LoadReport) -> Iterator[Item]:
    for item in benchmark.load_items(folder, report):
        if reason := item_error(item):
            report.skipped[reason] += 1
        else:
            yield item


def item_error(item: Item) -> str | None:
    """Return why an item cannot be used, whatever the benchmark, else None."""
    for question in item.questions:
        if len(question.choices) < _MIN_CHOICES:
            return "fewer than two choices"
        if not all(isinstance(text, str) for text in (question.text, *question.choices)):
            return "a question or a choice is not text"
    if len({region.number for region in item.regions}) < len(item.regions):
        return "two regions have the same number"
    return None


def with_unique_keys(items: list[Item]) -> list[Item]:
    """Number the items that repeat a key, in their order, so that none gets another's answer."""
    keys = {item.key for item in items}
    used: set[str] = set()
    unique = []
    for item in items:
        key, n = item.key, 1
        while key in used or (n > 1 and key in keys):
            n += 1
            key = f"{item.key} ({n})"
        used.add(key)
        unique.append(replace(item, key=key))
    return unique
