"""Interface of a benchmark, and reading of its official files."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from db.images.image_files import read_header
from regions import references
from regions.errors import InvalidError, NotFoundError, UserError
from regions.geometry import Region, box_error, clip

Sums = Mapping[str, NDArray[np.float64]]
Counts = dict[str, float]
Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its choices and the target: the index of the right choice, or scores."""

    text: str
    choices: tuple[str, ...]
    target: Any


@dataclass(frozen=True, slots=True)
class Item:
    """An image with its regions, and one question or several."""

    key: str
    image: Path
    regions: tuple[Region, ...]
    """Regions to be shown, in pixels, under the numbers that the texts use."""
    questions: tuple[Question, ...]
    reads_text: bool = False
    """Whether the official metric reads the generated text instead of a ranking of choices."""


@dataclass(slots=True)
class LoadReport:
    """Number of items that cannot be used, by reason."""

    skipped: Counter[str] = field(default_factory=Counter)


class Benchmark(Protocol):
    """A benchmark, implemented by a module."""

    name: str
    title: str
    paper_columns: tuple[str, ...]
    """Columns of its figures in `student.benchmarks.paper`; empty if the paper has none."""

    def load_items(self, folder: Path, report: LoadReport) -> Iterator[Item]:
        """Yield the items in a folder of official files; NotFoundError if a file is missing."""
        ...

    def count_item(self, item: Item, outputs: Sequence[Any]) -> Counts:
        """Return an item's contribution; `outputs` has scores or a text for each question."""
        ...

    def figures(self, sums: Sums) -> Sums:
        """Return the official figures in per cent, from sums of contributions of any shape."""
        ...


def find_file(folder: Path, names: Sequence[str], benchmark: str) -> Path:
    """Return the first of these files that exists; NotFoundError lists what the folder holds."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    content = sorted(path.name for path in folder.iterdir())[:6] if folder.is_dir() else []
    found = f"it holds {', '.join(content)}" if content else "it is empty, or not a folder"
    raise NotFoundError(
        f"no {' or '.join(names)} of {benchmark} here: {found}",
        where=str(folder),
        hint="give the folder of the official files by --data",
    )


def read_json(file: Path) -> Any:  # noqa: ANN401 - JSON
    """Return the content of a JSON file; InvalidError if it is not JSON."""
    try:
        return json.loads(file.read_bytes())
    except ValueError as error:
        raise InvalidError(
            f"not JSON: {error}", where=str(file), hint="download it again"
        ) from error


def read_json_lines(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects in a file of JSON lines; InvalidError names a line that is none."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise InvalidError(
                    "not a JSON object", where=f"{file}, line {number}", hint="download it again"
                )
            yield row


def find_image(folders: Sequence[Path], name: str, report: LoadReport) -> Path | None:
    """Return an image in the first folder that has it; if none has, None, and it is reported."""
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    report.skipped["the image is missing"] += 1
    return None


def image_size(image: Path, report: LoadReport) -> Size | None:
    """Return width and height of an image; None if it cannot be read, and it is reported."""
    try:
        return read_header(image, str(image)).size
    except UserError:
        report.skipped["the image cannot be read"] += 1
        return None


def region_scale(image: Path, stated: Size, report: LoadReport) -> tuple[float, float] | None:
    """Return the factors of x and y from boxes in an image of the `stated` size to this image.

    Released boxes are for the original image; a copy may have been resized. None if this image has
    another aspect ratio, or cannot be read; it is reported.
    """
    size = image_size(image, report)
    if size is None:
        return None
    # Rounding of a resized image changes neither side by more than a pixel.
    if min(stated) < 1 or abs(size[0] * stated[1] - size[1] * stated[0]) > sum(stated):
        report.skipped["the boxes are for an image of another shape"] += 1
        return None
    return size[0] / stated[0], size[1] / stated[1]


def region_from_box(
    number: int, box: Sequence[float], size: Size, scale: tuple[float, float] = (1.0, 1.0)
) -> Region | None:
    """Return a region, scaled, of a box in an image of `size`; None for an impossible box."""
    if box_error(list(box), *size):
        return None
    x1, y1, x2, y2 = box
    left, top, right, bottom = clip((x1, y1, x2, y2), *size)
    return Region(number, (left * scale[0], top * scale[1], right * scale[0], bottom * scale[1]))


def choices_from(value: object) -> tuple[str, ...]:
    """Return a list of choices; an empty one for anything else, such as a text."""
    return tuple(value) if isinstance(value, list) else ()


def choice_index(value: object, choices: Sequence[str], report: LoadReport) -> int | None:
    """Return the index of the right choice; None if there is no such choice, and it is reported.

    Python would read -1 as the last choice, and 1.7 or true as the second.
    """
    if type(value) is int and 0 <= value < len(choices):
        return value
    report.skipped["the right choice is not one of the choices"] += 1
    return None


def text_from_tokens(tokens: object) -> str:
    """Return the text of VCR's tokens; TypeError if they are no list."""
    if not isinstance(tokens, list):
        raise TypeError(f"not a list of tokens: {tokens!r:.80}")
    return references.from_tokens(tokens)


def refer_to(texts: Sequence[str], numbers: Collection[int], report: LoadReport) -> bool:
    """Whether the references in all texts are to these regions; if not, it is reported."""
    if not any(references.check(text, numbers) for text in texts):
        return True
    report.skipped["a text refers to a region that is not there"] += 1
    return False


def count_correct(item: Item, outputs: Sequence[Any]) -> Counts:
    """Whether the best-scored choice is right, for items with one question."""
    is_correct = int(np.argmax(outputs[0])) == item.questions[0].target
    return {"items": 1.0, "correct": float(is_correct)}


def accuracy_figure(sums: Sums) -> Sums:
    """Return the accuracy in per cent, from sums of `count_correct`."""
    return {"accuracy": 100 * sums["correct"] / sums["items"]}
