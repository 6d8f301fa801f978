"""What a benchmark is: items out of its official files, and figures out of their scores."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regions import references
from regions.errors import UserError
from regions.geometry import Region, box_error, clip

Sums = Mapping[str, NDArray[np.float64]]
Counts = dict[str, float]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, the answers to choose from, and what is true: an index, or scores."""

    text: str
    choices: tuple[str, ...]
    truth: Any


@dataclass(frozen=True, slots=True)
class Item:
    """One of a benchmark: a picture with its regions, and one question or two."""

    key: str
    image: Path
    regions: tuple[Region, ...]
    """Those to be shown, in pixels of the image, by the numbers that texts use."""
    questions: tuple[Question, ...]
    written: bool = False
    """Whether the official metric reads what was written, not what was ranked first."""


@dataclass(slots=True)
class Reading:
    """What could not be used of a benchmark's files, and why."""

    left_out: Counter[str] = field(default_factory=Counter)


class Benchmark(Protocol):
    """One benchmark; a module each."""

    name: str
    title: str
    paper: tuple[str, ...]
    """Its figures that the paper has, by their names in `student.benchmarks.paper`."""

    def items(self, folder: Path, reading: Reading) -> Iterator[Item]:
        """The items in a folder with its official files; UserError where they are not there."""
        ...

    def counts(self, item: Item, found: Sequence[Any]) -> Counts:
        """What an item adds; `found` has scores or a text for each of its questions."""
        ...

    def figures(self, sums: Sums) -> Sums:
        """The official figures from sums of counts, in per cent; arrays of any shape."""
        ...


def first_of(folder: Path, names: Sequence[str], benchmark: str) -> Path:
    """The file of the first name that is there; UserError says what was expected and what is."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    inside = sorted(path.name for path in folder.iterdir())[:6] if folder.is_dir() else []
    there = f"it holds {', '.join(inside)}" if inside else "it is empty, or no folder"
    raise UserError(
        f"no {' or '.join(names)} of {benchmark} here: {there}",
        where=str(folder),
        hint="give the folder of its official files by --data",
    )


def document(file: Path) -> Any:  # noqa: ANN401 - JSON
    """A JSON file; UserError where it is none."""
    try:
        return json.loads(file.read_bytes())
    except ValueError as error:
        raise UserError(f"no JSON: {error}", where=str(file), hint="fetch it again") from error


def lines(file: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines; UserError names a line that is none."""
    with file.open("rb") as opened:
        for number, line in enumerate(opened, start=1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except ValueError:
                found = None
            if not isinstance(found, dict):
                raise UserError(
                    "no JSON object", where=f"{file}, line {number}", hint="fetch it again"
                )
            yield found


def picture(folders: Sequence[Path], name: str, reading: Reading) -> Path | None:
    """The file of an image in the first folder that has it; where none has, it is counted."""
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    reading.left_out["the image is missing"] += 1
    return None


def region(number: int, box: Sequence[float], size: tuple[int, int]) -> Region | None:
    """A region out of a benchmark's box; None where there is no such region."""
    if box_error(list(box), *size):
        return None
    x1, y1, x2, y2 = box
    return Region(number, clip((x1, y1, x2, y2), *size))


def worded(tokens: Sequence[Any], known: Sequence[int]) -> str:
    """Tokens of VCR as a text; ValueError for a region that is not known."""
    text = references.from_tokens(list(tokens))
    if reason := references.check(text, known):
        raise ValueError(reason)
    return text


def accuracy(item: Item, found: Sequence[Any]) -> Counts:
    """Counts of items with one question, whose truth is an index."""
    right = int(np.argmax(found[0])) == item.questions[0].truth
    return {"items": 1.0, "right": float(right)}


def share_right(sums: Sums) -> Sums:
    """The figure of `accuracy`."""
    return {"accuracy": 100 * sums["right"] / sums["items"]}
