"""What a row of any file is once read, and the checks that every format shares.

A row is right as a whole or kept out as a whole: `Bad` names the field and the reason.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson

from db.images.image_files import read_file, size_of
from db.schema import Decision, InstructionKind, Reason, VerbalizationKind
from regions import references
from regions.errors import UserError
from regions.geometry import Box, Polygon, box_error, clip

LONGEST = 20_000
"""Characters of a text; longer ones are no questions, and would stop a page or a model."""


class InvalidRow(Exception):  # noqa: N818 - a row is bad; it is no error of the program
    """Why a row is kept out: the field, and the reason in words."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason

    def __reduce__(self) -> tuple[type["InvalidRow"], tuple[str, str]]:
        return InvalidRow, (self.field, self.reason)


RegionRow = tuple[int, float, float, float, float, str, str]
"""Number, box, rings as JSON, label: plain, since millions of them pass between processes."""


def region(number: int, box: Box, outline: Sequence[Polygon], label: str) -> RegionRow:
    """A region as it is stored; each part has been checked here before."""
    rings = orjson.dumps(outline).decode() if outline else "[]"
    return (number, *box, rings, label)


class TripleRow(NamedTuple):
    """A triple as read; `shown` in the order of the file."""

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
    """An instruction as read: pairs of question and answer."""

    kind: InstructionKind
    turns: list[list[str]]
    model: str


class VoteRow(NamedTuple):
    """A vote as read: who, what, why."""

    person: str
    decision: Decision
    reasons: list[Reason]


class Row(NamedTuple):
    """What one line says: an image, its regions, and perhaps a triple with votes and scores."""

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
    """A row kept out."""

    line: int
    field: str
    reason: str


class ImportContext:
    """What a reader knows while it reads: the folder of images, and notes for the report."""

    def __init__(self, images: str, source: str, accept_means: str | None) -> None:
        self.images = images
        self.source = source
        self.accept_means = accept_means
        self.notes: Counter[str] = Counter()
        self._sizes: dict[str, tuple[int, int] | str] = {}
        self._last: tuple[object, list[RegionRow]] = (None, [])

    def size_of(self, name: str, field: str) -> tuple[int, int]:
        """Width and height of an image, looked up once; Bad where there is no such picture."""
        if name not in self._sizes:
            try:
                self._sizes[name] = size_of(self.images, name)
            except UserError as error:
                self._sizes[name] = error.problem
        found = self._sizes[name]
        if isinstance(found, str):
            raise InvalidRow(field, f"{found} ({name[:200]})")
        return found

    def document(self, name: str, field: str) -> dict[str, Any]:
        """A JSON object that lies beside the images; Bad where there is none."""
        try:
            found = orjson.loads(read_file(self.images, name))
        except (UserError, OSError, orjson.JSONDecodeError) as error:
            raise InvalidRow(field, f"{error} ({name[:200]})") from error
        if not isinstance(found, dict):
            raise InvalidRow(field, f"no JSON object ({name[:200]})")
        return found

    def cached_regions(
        self, written: object, name: str, read: Callable[[], list[RegionRow]]
    ) -> list[RegionRow]:
        """The regions that `read` gives, unless the row before had the same ones."""
        if self._last[0] != (name, written):
            self._last = (name, written), read()
        return self._last[1]


def get(record: dict[str, Any], field: str, kind: type | tuple[type, ...]) -> Any:  # noqa: ANN401
    """A field that must be there, of a type that must be right."""
    if field not in record:
        raise InvalidRow(field, "missing")
    value = record[field]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidRow(
            field, f"{type(value).__name__} where another type is needed: {value!r:.60}"
        )
    return value


def label(value: object, field: str) -> str:
    """The name of a region: a text, or nothing."""
    return text(value, field) if value else ""


def text(value: object, field: str, shown: Sequence[int] | None = None) -> str:
    """A text that can be stored and shown; with `shown`, one that names only those regions."""
    if not isinstance(value, str):
        raise InvalidRow(field, f"{type(value).__name__} where text is needed")
    words = value.strip()
    if not words:
        raise InvalidRow(field, "empty")
    if len(words) > LONGEST:
        raise InvalidRow(field, f"{len(words)} characters; at most {LONGEST} are taken")
    if "\0" in words:
        raise InvalidRow(field, "holds a NUL character")
    if shown is not None and (reason := references.check(words, shown)):
        raise InvalidRow(field, reason)
    return words


def number(value: object, field: str) -> int:
    """A region's number, from zero; the released files also write it as text."""
    if type(value) is int and 0 <= value < 2**31:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:  # noqa: PLR2004 - within 32 bits
        return int(value)
    raise InvalidRow(field, f"no region number: {value!r:.60}")


def box(value: object, size: tuple[int, int], field: str) -> Box:
    """A box inside the picture; one that overshoots it by rounding is cut."""
    if not isinstance(value, list):
        raise InvalidRow(field, f"no box: {value!r:.60}")
    if fault := box_error(value, *size):
        raise InvalidRow(field, fault)
    x1, y1, x2, y2 = value
    return clip((x1, y1, x2, y2), *size)


def polygons(value: object, around: Box, reading: ImportContext) -> tuple[Polygon, ...]:
    """The rings of an outline, of [x, y] pairs or flat; those that are none are noted, not kept."""
    rings = []
    for ring in value if isinstance(value, list) else []:
        corners = _corners(ring)
        if corners is None:
            reading.notes["outlines that are no polygon: the box was kept"] += 1
        elif not _near(corners, around):
            reading.notes["outlines that leave their box: the box was kept"] += 1
        else:
            rings.append(corners)
    return tuple(rings)


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


def _near(corners: Polygon, around: Box) -> bool:
    """Whether an outline keeps to its box, but for a tenth of its size or two pixels."""
    x1, y1, x2, y2 = around
    dx, dy = max(2.0, (x2 - x1) / 10), max(2.0, (y2 - y1) / 10)
    return all(x1 - dx <= x <= x2 + dx and y1 - dy <= y <= y2 + dy for x, y in corners)
