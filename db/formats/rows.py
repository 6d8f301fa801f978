"""The rows that every importer produces, and the checks that all formats share.

A row is accepted or rejected as a whole: `InvalidRowError` names the field and the reason. Records
arrive typed (`db.reading.decoding`); the checks are of values.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, TypeVar

import msgspec
import orjson

from db.images.image_files import Header, find_image, read_file
from db.images.locations import NO_PICTURES
from db.images.orientation import UPRIGHT, Size, turn_box, turn_polygon
from db.reading.decoding import HALF_SURROGATE, InvalidRowError, RecordDecoder
from db.schema import Decision, InstructionKind, Reason, VerbalizationKind
from regions import references
from regions.errors import UserError
from regions.geometry import Box, Polygon, box_error, clip

T = TypeVar("T", bound=msgspec.Struct)

Number = int | float | str
"""A region's number; files also write it as a text, or with a decimal point."""

MAX_CHARACTERS = 20_000
"""Length of a text; a longer one is not a question or answer, and would stall pages and models."""
MAX_NAME_CHARACTERS = 400
"""Length of a name, such as a label."""
_NUMBER_LIMIT = 2**31
MAX_SHORT_CHARACTERS = 40
"""Length of a kind or version."""
_MAX_SIDE = 1_000_000
_MAX_SHOWN_CHARACTERS = 200
"""Characters of an image's name in a reason."""
_MAX_CACHED_IMAGES = 10_000
"""Files list the rows of an image together."""


RegionRow = tuple[int, float, float, float, float, str, str]
"""Number, x1, y1, x2, y2, polygons as JSON, label. A plain tuple: files have millions."""


def region_row(number: int, box: Box, polygons: Sequence[Polygon], label: str) -> RegionRow:
    """Return a region, whose parts have been checked, as it is stored."""
    return (number, *box, orjson.dumps(polygons).decode() if polygons else "[]", label)


class TripleRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A triple as read; `visible_regions` in the order of the file."""

    question: str
    answer: str
    rationale: str
    visible_regions: list[int]
    kind: str
    source: str
    model: str
    prompt_version: str
    external_id: str = ""


class TextRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A verbalization as read."""

    kind: VerbalizationKind
    region: int | None
    text: str
    answer: str
    model: str
    version: str


class ImageRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An image of a row after the first; `size` and `orientation` as `ImportContext.place` says."""

    name: str
    size: Size
    orientation: int


class InstructionRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An instruction as read; a turn is a question and its answer."""

    kind: InstructionKind
    turns: list[list[str]]
    model: str
    external_id: str = ""
    further_images: list[ImageRow] = []


class VoteRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A vote as read; of an `anonymous` person only the place in a list is known."""

    person: str
    decision: Decision
    reasons: list[Reason]
    anonymous: bool = False
    created: int | None = None


Frame = Literal["stored", "upright"]
"""Which pixels boxes refer to: those of the file, or those after its EXIF orientation."""


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One row of a file: an image with its regions, and perhaps a triple with votes and scores.

    `ImportContext.place` then makes `image` the name of the file, and size and regions upright.
    """

    line: int
    image: str
    size: Size
    """Of the pixels that the boxes refer to; see `ImportContext.image_size`."""
    regions: list[RegionRow]
    licence: str = ""
    triple: TripleRow | None = None
    texts: list[TextRow] = []
    instructions: list[InstructionRow] = []
    votes: list[VoteRow] = []
    scores: list[tuple[str, float]] = []
    frame: Frame | None = None
    """None: as the import says."""
    orientation: int = UPRIGHT
    """Of the image file; set by `ImportContext.place`."""

    def further_images(self) -> list[ImageRow]:
        """Return the images of the row's instructions after the first."""
        return [image for entry in self.instructions for image in entry.further_images]


class RowRejection(msgspec.Struct, frozen=True, array_like=True, gc=False, order=True):
    """A rejected row, or entry of a row: where it is and what is wrong."""

    line: int
    field: str
    reason: str


class ImportContext:
    """State of an import that all rows share: the image folder, caches, and notes to report."""

    def __init__(
        self,
        images: str,
        source: str,
        accept_means: str | None,
        file_name: str = "",
        boxes: Frame = "stored",
    ) -> None:
        self.images = images
        self.source = source
        self.accept_means = accept_means
        self.file_name = file_name
        self.boxes = boxes
        """Which pixels the boxes refer to, of rows that do not say it."""
        self.notes: Counter[str] = Counter()
        """What was dropped from accepted rows."""
        self._images: dict[str, tuple[str, Header] | str] = {}
        """File names and headers of images by name; for an unusable image, the problem."""
        self._last_regions: tuple[object, list[RegionRow]] = (None, [])

    @property
    def has_pictures(self) -> bool:
        """Whether there are picture files; else sizes are those that rows state."""
        return self.images != NO_PICTURES

    def image_size(self, name: str, field: str, frame: Frame | None = None) -> Size:
        """Return width and height of the pixels that an image's boxes refer to.

        `frame` is for rows that say it themselves. InvalidRowError if the image is missing or
        unreadable.
        """
        header = self._image(name, field)[1]
        return header.size if (frame or self.boxes) == "upright" else header.stored_size

    def stated_size(  # noqa: PLR0917 - name and size, each with its field
        self,
        name: str,
        field: str,
        width: float | None,
        height: float | None,
        size_field: str,
        frame: Frame | None = None,
    ) -> Size:
        """Return `image_size` of a row that states the image's size.

        The boxes refer to the stored or the upright pixels, whichever has it. InvalidRowError
        in `size_field` if neither has.
        """
        if not self.has_pictures and width is not None and height is not None:
            self._images[name] = name, Header(_check_size(width, height, size_field), UPRIGHT)
        header = self._image(name, field)[1]
        usual = self.image_size(name, field, frame)
        for size in (usual, header.stored_size, header.size):
            if width in {None, size[0]} and height in {None, size[1]}:
                return size
        stated = usual[0] if width is None else width, usual[1] if height is None else height
        raise InvalidRowError(
            size_field,
            f"the file says {stated[0]:g}x{stated[1]:g}, the image is {usual[0]}x{usual[1]}",
        )

    def further_image(self, name: str, field: str) -> ImageRow:
        """Return an image of a row after the first."""
        file_name, header = self._image(name, field)
        return ImageRow(file_name, header.size, header.orientation)

    def place(self, row: Row) -> Row:
        """Return the row with the name of the image's file, and upright size and regions."""
        name, header = self._image(row.image, "image")
        size, orientation = header.stored_size, header.orientation
        if orientation == UPRIGHT:
            return row if name == row.image else msgspec.structs.replace(row, image=name)
        regions = row.regions
        if regions and not self._is_upright(row, header):
            self.notes["rows about images with an EXIF orientation: regions turned along"] += 1
            regions = [_turned(region, size, orientation) for region in regions]
        return msgspec.structs.replace(
            row, image=name, size=header.size, regions=regions, orientation=orientation
        )

    def _is_upright(self, row: Row, header: Header) -> bool:
        """Whether a row's boxes refer to the upright pixels, by their size or else as it says."""
        if header.size != header.stored_size:
            return row.size == header.size
        return (row.frame or self.boxes) == "upright"

    def _image(self, name: str, field: str) -> tuple[str, Header]:
        image = self._images.get(name)
        if image is None:
            if self.has_pictures and len(self._images) >= _MAX_CACHED_IMAGES:
                self._images.clear()
            image = self._images[name] = self._read_image(name)
        if isinstance(image, str):
            raise InvalidRowError(field, f"{image} ({name[:_MAX_SHOWN_CHARACTERS]})")
        return image

    def _read_image(self, name: str) -> tuple[str, Header] | str:
        if not self.has_pictures:
            return "the size of the image is not stated, and there are no pictures"
        try:
            return find_image(self.images, name)
        except FileNotFoundError:
            return "the image is missing"
        except UserError as error:
            return error.problem

    def load_json(self, name: str, field: str, decoder: RecordDecoder[T]) -> T:
        """Return a record stored among the images; InvalidRowError if it is missing or invalid."""
        try:
            return decoder.decode(read_file(self.images, name), self.notes)
        except (UserError, OSError, InvalidRowError) as error:
            shown_name = name[:_MAX_SHOWN_CHARACTERS]
            raise InvalidRowError(field, f"{error} ({shown_name})") from error

    def cached_regions(
        self, key: object, image: str, parse: Callable[[], list[RegionRow]]
    ) -> list[RegionRow]:
        """Return `parse()`, or its last result if `key` and `image` are those of the last call."""
        if self._last_regions[0] != (image, key):
            self._last_regions = (image, key), parse()
        return self._last_regions[1]


def check_text(
    value: str,
    field: str,
    visible_regions: Sequence[int] | None = None,
    *,
    limit: int = MAX_CHARACTERS,
) -> str:
    """Return a text, stripped; with `visible_regions`, one that refers to no other region."""
    text = value.strip()
    if not text:
        raise InvalidRowError(field, "empty")
    if len(text) > limit:
        raise InvalidRowError(field, f"{len(text)} characters; at most {limit} allowed")
    if "\0" in text:
        raise InvalidRowError(field, "contains a NUL character")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidRowError(field, HALF_SURROGATE)
    if visible_regions is not None and (reason := references.check(text, visible_regions)):
        raise InvalidRowError(field, reason)
    return text


@lru_cache(10_000)  # few names are in many rows
def check_name(value: str, field: str) -> str:
    """Return a name: a text of limited length."""
    return check_text(value, field, limit=MAX_NAME_CHARACTERS)


def check_optional(value: str | None, field: str, *, limit: int = MAX_CHARACTERS) -> str:
    """Return a text that may be missing or empty."""
    return check_text(value, field, limit=limit) if value and not value.isspace() else ""


def check_label(value: str | None, field: str) -> str:
    """Return the label of a region, which may be empty."""
    return check_name(value, field) if value and not value.isspace() else ""


def as_list(value: str | list[str] | None) -> list[str]:
    """Return texts; a single text stands for a list of one."""
    return [value] if isinstance(value, str) else value or []


def check_id(value: str | float) -> str:
    """Return the id of a record as a text: some files write ids as numbers."""
    is_whole = isinstance(value, float) and value.is_integer()
    return check_label(str(int(value) if is_whole else value), "id")


def check_texts(value: str | list[str], field: str) -> list[str]:
    """Return a list of texts, none of which is empty; a single text stands for a list of one."""
    return [check_text(text, field) for text in as_list(value)]


def check_number(value: Number, field: str) -> int:
    """Return a region's number, from 0."""
    if isinstance(value, str):
        # At most nine digits: within 32 bits.
        number = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else -1  # noqa: PLR2004
    else:
        number = int(value) if 0 <= value < _NUMBER_LIMIT and value == int(value) else -1
    if number < 0:
        raise InvalidRowError(field, f"not a region number: {value!r:.60}")
    return number


def check_numbers(values: Sequence[Number], field: str) -> list[int]:
    """Return region numbers, each of which occurs once."""
    numbers = [
        value if type(value) is int and 0 <= value < _NUMBER_LIMIT else check_number(value, field)
        for value in values  # nearly all are valid, and a call takes longer
    ]
    if len(set(numbers)) != len(numbers):
        raise InvalidRowError(field, "the same region twice")
    return numbers


def check_score(value: float, field: str) -> float:
    """Return a probability."""
    if not 0 <= value <= 1:  # also NaN
        raise InvalidRowError(field, f"must be between 0 and 1 (got {value:g})")
    return value


def check_box(value: Sequence[float], size: tuple[int, int], field: str) -> Box:
    """Return a box within the image; one that exceeds it by a rounding error is clipped."""
    if len(value) == 4:  # noqa: PLR2004 - nearly all are valid, and the message takes longer
        x1, y1, x2, y2 = value
        if 0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]:
            return x1, y1, x2, y2
    if error := box_error(value, *size):
        raise InvalidRowError(field, error)
    x1, y1, x2, y2 = value
    return clip((x1, y1, x2, y2), *size)


def _check_size(width: float, height: float, field: str) -> Size:
    if not (0 < width < _MAX_SIDE and 0 < height < _MAX_SIDE):
        raise InvalidRowError(field, f"not a size in pixels: {width:g}x{height:g}")
    return max(1, round(width)), max(1, round(height))


def _turned(region: RegionRow, size: Size, orientation: int) -> RegionRow:
    """Return a region of stored pixels of `size` in the upright picture."""
    number, x1, y1, x2, y2, polygons, label = region
    box = turn_box((x1, y1, x2, y2), size, orientation)
    rings = [turn_polygon(ring, size, orientation) for ring in orjson.loads(polygons)]
    return region_row(number, box, rings, label)


def parse_polygons(value: object, box: Box, context: ImportContext) -> tuple[Polygon, ...]:
    """Return the polygons of an outline, of [x, y] pairs or flat lists.

    Run-length masks, invalid polygons and those that leave the box are dropped and noted.
    """
    if value is None:
        return ()
    polygons = []
    for ring in value if isinstance(value, list) else [value]:
        if isinstance(ring, dict):
            context.notes["masks (run-length encoded): only the box was imported"] += 1
        elif (corners := _corners(ring)) is None:
            context.notes["invalid outlines: only the box was imported"] += 1
        elif not _is_near(corners, box):
            context.notes["outlines outside their box: only the box was imported"] += 1
        else:
            polygons.append(corners)
    return tuple(polygons)


def _corners(ring: object) -> Polygon | None:
    try:
        corners = msgspec.convert(ring, Polygon)
    except (msgspec.ValidationError, UnicodeEncodeError):
        try:
            flat = msgspec.convert(ring, list[float])
        except (msgspec.ValidationError, UnicodeEncodeError):
            return None
        corners = tuple(zip(flat[::2], flat[1::2], strict=False))
        if len(flat) % 2:
            return None
    return corners if len(corners) >= 3 else None  # noqa: PLR2004 - a triangle


def _is_near(corners: Polygon, box: Box) -> bool:
    """Whether an outline exceeds its box by no more than a tenth of its size or two pixels."""
    x1, y1, x2, y2 = box
    dx, dy = max(2.0, (x2 - x1) / 10), max(2.0, (y2 - y1) / 10)
    return all(x1 - dx <= x <= x2 + dx and y1 - dy <= y <= y2 + dy for x, y in corners)
