"""The rows that every importer produces, and the checks that all formats share.

A row is accepted or rejected as a whole: `InvalidRowError` names the field and the reason.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson

from db.images.image_files import image_size, read_file
from db.schema import Decision, InstructionKind, Reason, VerbalizationKind
from regions import references
from regions.errors import UserError
from regions.geometry import Box, Polygon, box_error, clip

MAX_CHARACTERS = 20_000
"""Length of a text; a longer one is not a question or answer, and would stall pages and models."""
_MAX_NAME_CHARACTERS = 200


class InvalidRowError(Exception):
    """A row is rejected: the field, and the reason in words."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason

    def __reduce__(self) -> tuple[type["InvalidRowError"], tuple[str, str]]:
        return InvalidRowError, (self.field, self.reason)


RegionRow = tuple[int, float, float, float, float, str, str]
"""Number, x1, y1, x2, y2, polygons as JSON, label. A plain tuple: processes exchange millions."""


def region_row(number: int, box: Box, polygons: Sequence[Polygon], label: str) -> RegionRow:
    """Return a region, whose parts have been checked, as it is stored."""
    return (number, *box, orjson.dumps(polygons).decode() if polygons else "[]", label)


class TripleRow(NamedTuple):
    """A triple as read; `visible_regions` in the order of the file."""

    question: str
    answer: str
    rationale: str
    visible_regions: list[int]
    kind: str
    source: str
    model: str
    prompt_version: str


class TextRow(NamedTuple):
    """A verbalization as read."""

    kind: VerbalizationKind
    region: int | None
    text: str
    answer: str
    model: str
    version: str


class InstructionRow(NamedTuple):
    """An instruction as read; a turn is a question and its answer."""

    kind: InstructionKind
    turns: list[list[str]]
    model: str


class VoteRow(NamedTuple):
    """A vote as read."""

    person: str
    decision: Decision
    reasons: list[Reason]


class Row(NamedTuple):
    """One row of a file: an image with its regions, and perhaps a triple with votes and scores."""

    line: int
    image: str
    size: tuple[int, int]
    regions: list[RegionRow]
    licence: str = ""
    triple: TripleRow | None = None
    texts: Sequence[TextRow] = ()
    instructions: Sequence[InstructionRow] = ()
    votes: Sequence[VoteRow] = ()
    scores: Sequence[tuple[str, float]] = ()


class RowRejection(NamedTuple):
    """A rejected row, or entry of a row: where it is and what is wrong."""

    line: int
    field: str
    reason: str


class ImportContext:
    """State of an import that all rows share: the image folder, caches, and notes to report."""

    def __init__(self, images: str, source: str, accept_means: str | None) -> None:
        self.images = images
        self.source = source
        self.accept_means = accept_means
        self.notes: Counter[str] = Counter()
        """What was dropped from accepted rows."""
        self._sizes: dict[str, tuple[int, int] | str] = {}
        """Sizes of images by name; for an unusable image, the problem."""
        self._last_regions: tuple[object, list[RegionRow]] = (None, [])

    def image_size(self, name: str, field: str) -> tuple[int, int]:
        """Return width and height of an image; InvalidRowError if it is missing or damaged."""
        if name not in self._sizes:
            try:
                self._sizes[name] = image_size(self.images, name)
            except UserError as error:
                self._sizes[name] = error.problem
        size = self._sizes[name]
        if isinstance(size, str):
            raise InvalidRowError(field, f"{size} ({name[:_MAX_NAME_CHARACTERS]})")
        return size

    def load_json(self, name: str, field: str) -> dict[str, Any]:
        """Return a JSON object stored among the images; InvalidRowError if there is none."""
        shown_name = name[:_MAX_NAME_CHARACTERS]
        try:
            content = orjson.loads(read_file(self.images, name))
        except (UserError, OSError, orjson.JSONDecodeError) as error:
            raise InvalidRowError(field, f"{error} ({shown_name})") from error
        if not isinstance(content, dict):
            raise InvalidRowError(field, f"not a JSON object ({shown_name})")
        return content

    def cached_regions(
        self, key: object, image: str, parse: Callable[[], list[RegionRow]]
    ) -> list[RegionRow]:
        """Return `parse()`, or its last result if `key` and `image` are those of the last call."""
        if self._last_regions[0] != (image, key):
            self._last_regions = (image, key), parse()
        return self._last_regions[1]


def get_field(record: dict[str, Any], field: str, kind: type | tuple[type, ...]) -> Any:  # noqa: ANN401
    """Return a required field of the given type."""
    if field not in record:
        raise InvalidRowError(field, "missing")
    value = record[field]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidRowError(field, f"wrong type {type(value).__name__}: {value!r:.60}")
    return value


def check_object(value: object, field: str) -> dict[str, Any]:
    """Return a JSON object."""
    if not isinstance(value, dict):
        raise InvalidRowError(field, f"not an object: {value!r:.60}")
    return value


def check_label(value: object, field: str) -> str:
    """Return the label of a region, which may be empty."""
    return check_text(value, field) if value else ""


def check_text(value: object, field: str, visible_regions: Sequence[int] | None = None) -> str:
    """Return a text, stripped; with `visible_regions`, one that refers to no other region."""
    if not isinstance(value, str):
        raise InvalidRowError(field, f"{type(value).__name__} instead of a text")
    text = value.strip()
    if not text:
        raise InvalidRowError(field, "empty")
    if len(text) > MAX_CHARACTERS:
        raise InvalidRowError(field, f"{len(text)} characters; at most {MAX_CHARACTERS} allowed")
    if "\0" in text:
        raise InvalidRowError(field, "contains a NUL character")
    if visible_regions is not None and (reason := references.check(text, visible_regions)):
        raise InvalidRowError(field, reason)
    return text


def check_number(value: object, field: str) -> int:
    """Return a region's number, from 0; the released files also write it as a string."""
    if type(value) is int and 0 <= value < 2**31:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:  # noqa: PLR2004 - within 32 bits
        return int(value)
    raise InvalidRowError(field, f"not a region number: {value!r:.60}")


def check_numbers(value: list[Any], field: str) -> list[int]:
    """Return region numbers, each of which occurs once."""
    numbers = [check_number(number, field) for number in value]
    if len(set(numbers)) != len(numbers):
        raise InvalidRowError(field, "the same region twice")
    return numbers


def check_score(value: object, field: str) -> float:
    """Return a probability."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidRowError(field, f"must be between 0 and 1 (got {value!r:.60})")
    return float(value)


def check_box(value: object, size: tuple[int, int], field: str) -> Box:
    """Return a box within the image; one that exceeds it by a rounding error is clipped."""
    if not isinstance(value, list):
        raise InvalidRowError(field, f"not a box: {value!r:.60}")
    if error := box_error(value, *size):
        raise InvalidRowError(field, error)
    x1, y1, x2, y2 = value
    return clip((x1, y1, x2, y2), *size)


def check_stated_size(stated: tuple[object, object], size: tuple[int, int], field: str) -> None:
    """InvalidRowError if a file states another size of an image than it has."""
    if stated != size:
        raise InvalidRowError(
            field, f"the file says {stated[0]}x{stated[1]}, the image is {size[0]}x{size[1]}"
        )


def parse_polygons(value: object, box: Box, context: ImportContext) -> tuple[Polygon, ...]:
    """Return the polygons of an outline, of [x, y] pairs or flat lists.

    Invalid ones, and those that leave the box, are dropped and noted.
    """
    polygons = []
    for ring in value if isinstance(value, list) else []:
        corners = _corners(ring)
        if corners is None:
            context.notes["invalid outlines: only the box was imported"] += 1
        elif not _is_near(corners, box):
            context.notes["outlines outside their box: only the box was imported"] += 1
        else:
            polygons.append(corners)
    return tuple(polygons)


def _corners(ring: object) -> Polygon | None:
    if not isinstance(ring, list) or not ring:
        return None
    if not isinstance(ring[0], list):
        ring = [list(pair) for pair in zip(ring[::2], ring[1::2], strict=False)]
    try:
        corners = tuple((float(x), float(y)) for x, y in ring)
    except (TypeError, ValueError):
        return None
    return corners if len(corners) >= 3 else None  # noqa: PLR2004 - a triangle


def _is_near(corners: Polygon, box: Box) -> bool:
    """Whether an outline exceeds its box by no more than a tenth of its size or two pixels."""
    x1, y1, x2, y2 = box
    dx, dy = max(2.0, (x2 - x1) / 10), max(2.0, (y2 - y1) / 10)
    return all(x1 - dx <= x <= x2 + dx and y1 - dy <= y <= y2 + dy for x, y in corners)
