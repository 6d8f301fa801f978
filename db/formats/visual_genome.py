"""Visual Genome: objects with attributes, region descriptions, and questions with answers.

Reads any of its files (`objects`, `attributes`, `scene_graphs`, `region_descriptions`,
`question_answers`, `image_data`), or a folder of several, whose entries for an image are joined to
one row. Objects become regions. A description belongs to the object with the same box, or else
becomes a region of its own. Relationships are dropped and noted.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from db.formats import rows
from db.formats.rows import ImportContext, RegionRow, Row, RowRejection, TextRow
from db.reading.decoding import InvalidRowError, RecordDecoder
from db.reading.json_lists import JsonListReader
from regions.geometry import Box, iou

MODEL = "Visual Genome annotators"
_FOLDERS = ("VG_100K/", "VG_100K_2/", "")
_MIN_IOU = 0.5
"""Intersection over union at which a description belongs to an object."""
_MAX_ATTRIBUTES = 10
"""Attributes of an object in its text."""

T = TypeVar("T", bound=msgspec.Struct)


class _Entry(msgspec.Struct, gc=False):
    """What one or several files hold about an image. Entries of lists are checked one by one."""

    image_id: int | None = None
    id: int | None = None
    objects: list[object] | None = None
    attributes: list[object] | None = None
    regions: list[object] | None = None
    qas: list[object] | None = None
    relationships: list[object] | None = None
    url: str | None = None
    width: float | None = None
    height: float | None = None


class _Object(msgspec.Struct, gc=False):
    object_id: int
    names: str | list[str] | None = None
    attributes: str | list[str] | None = None
    x: float | None = None
    y: float | None = None
    w: float | None = None
    h: float | None = None
    width: float | None = None
    height: float | None = None


class _Description(msgspec.Struct, gc=False):
    phrase: str
    x: float | None = None
    y: float | None = None
    width: float | None = None
    height: float | None = None


class _ObjectReference(msgspec.Struct, gc=False):
    object_id: int | None = None


class _Question(msgspec.Struct, gc=False):
    question: str
    answer: str
    q_objects: list[_ObjectReference] = []
    a_objects: list[_ObjectReference] = []


_ENTRIES = RecordDecoder(_Entry, "entry")
_OBJECTS = RecordDecoder(_Object, "objects")
_DESCRIPTIONS = RecordDecoder(_Description, "regions")
_QUESTIONS = RecordDecoder(_Question, "qas")


def of_interest(entry: object) -> bool:
    """Whether an entry of a file is about an image."""
    if not isinstance(entry, dict):
        return False
    return "image_id" in entry or ("id" in entry and ("regions" in entry or "qas" in entry))


def read(lists: JsonListReader, context: ImportContext) -> Iterator[Row | RowRejection]:
    """Yield one row per image; `line` counts images from 1, in the order in which they complete."""
    if lists.skipped:
        context.notes[f"files that were skipped: {', '.join(lists.skipped)}"] += len(lists.skipped)
    line = 0
    for joined in _joined_entries(lists, context):
        if isinstance(joined, RowRejection):
            yield joined
            continue
        line += 1
        image_id, entry = joined
        try:
            name, size = _image(image_id, entry, context)
        except InvalidRowError as error:
            yield RowRejection(line, error.field, error.reason)
            continue
        reader = _EntryReader(entry, size, line, context)
        texts = [*reader.objects(), *reader.descriptions(), *reader.questions()]
        yield from reader.rejections
        yield Row(line, name, size, reader.regions, texts=texts)


def _joined_entries(
    lists: JsonListReader, context: ImportContext
) -> Iterator[tuple[int, _Entry] | RowRejection]:
    """Yield each image's entries of all files, joined, as soon as no file can have another.

    The files list images in similar orders, so few entries are kept in memory.
    """
    streams = {file: enumerate(lists.entries(file), 1) for file in lists.files}
    pending: dict[int, _Entry] = {}
    files_of: defaultdict[int, set[Path]] = defaultdict(set)
    while streams:
        updated: set[int] = set()
        for file, stream in list(streams.items()):
            numbered = next(stream, None)
            if numbered is None:
                del streams[file]
                updated.update(pending)
                continue
            number, value = numbered
            try:
                image_id, entry = _parse_entry(value, context)
            except InvalidRowError as error:
                yield RowRejection(number, error.field, f"{error.reason} ({file.name})")
                continue
            files_of[image_id].add(file)
            pending[image_id] = _joined(pending[image_id], entry) if image_id in pending else entry
            updated.add(image_id)
        for image_id in sorted(updated):
            if files_of[image_id] >= streams.keys():
                files_of.pop(image_id)
                yield image_id, pending.pop(image_id)
    yield from pending.items()


def _parse_entry(value: object, context: ImportContext) -> tuple[int, _Entry]:
    """Return the image id of an entry, and what is imported of it."""
    entry = _ENTRIES.convert(value, context.notes)
    image_id = entry.id if entry.image_id is None else entry.image_id
    if image_id is None:
        raise InvalidRowError("image_id", "missing")
    if entry.relationships:
        context.notes["images with relationships, which were dropped"] += 1
    return image_id, entry


def _joined(first: T, second: T) -> T:
    """Return a record with the fields of both; of fields that both state, those of the second."""
    fields = msgspec.structs.asdict(second)
    stated = {name: value for name, value in fields.items() if value is not None}
    return msgspec.structs.replace(first, **stated)


def _image(image_id: int, entry: _Entry, context: ImportContext) -> tuple[str, tuple[int, int]]:
    """Return the name and size of an image; its folder is in the URL, or tried."""
    url = entry.url or ""
    stated_folders = [folder for folder in _FOLDERS if folder and f"/{folder}" in url]
    if not context.has_pictures:
        name = f"{(stated_folders or [''])[0]}{image_id}.jpg"
        return name, context.stated_size(name, "image", entry.width, entry.height, "image_data")
    for folder in (*stated_folders, *_FOLDERS):
        name = f"{folder}{image_id}.jpg"
        try:
            context.image_size(name, "image")
        except InvalidRowError:
            continue
        stated = entry.width, entry.height
        return name, context.stated_size(name, "image", *stated, "image_data")
    raise InvalidRowError("image", f"no {image_id}.jpg here, in VG_100K or in VG_100K_2")


class _EntryReader:
    """Reads the lists of one image's entry: `objects` first, which numbers the regions."""

    def __init__(
        self, entry: _Entry, size: tuple[int, int], line: int, context: ImportContext
    ) -> None:
        self._entry, self._size, self._line, self._notes = entry, size, line, context.notes
        self._numbers: dict[int, int] = {}
        """Region numbers by object id."""
        self.regions: list[RegionRow] = []
        self.rejections: list[RowRejection] = []

    def _reject(self, error: InvalidRowError, prefix: str) -> None:
        field = error.field if error.field.startswith(prefix) else f"{prefix}.{error.field}"
        self.rejections.append(RowRejection(self._line, field, error.reason))

    def objects(self) -> Iterator[TextRow]:
        """Add the objects as regions, in order of their ids; yield texts of their attributes."""
        by_id: dict[int, _Object] = {}
        for value in (*(self._entry.objects or ()), *(self._entry.attributes or ())):
            try:
                entry = _OBJECTS.convert(value, self._notes)
            except InvalidRowError as error:
                self._reject(error, "objects")
                continue
            known = by_id.get(entry.object_id)
            by_id[entry.object_id] = _joined(known, entry) if known else entry
        for object_id, entry in sorted(by_id.items()):
            number = len(self.regions)
            try:
                names = rows.as_list(entry.names)
                label = rows.check_label(names[0] if names else "", "names")
                width = entry.w if entry.width is None else entry.width
                height = entry.h if entry.height is None else entry.height
                box = self._box(entry.x, entry.y, width, height)
                text = _text(label, entry)
            except InvalidRowError as error:
                self._reject(error, "objects")
                continue
            self._numbers[object_id] = number
            self.regions.append(rows.region_row(number, box, (), label))
            if text:
                yield TextRow("region", number, text, "", MODEL, "")

    def descriptions(self) -> Iterator[TextRow]:
        """Yield the region descriptions; those of no object add a region."""
        for value in self._entry.regions or ():
            try:
                entry = _DESCRIPTIONS.convert(value, self._notes)
                phrase = rows.check_text(entry.phrase, "phrase")
                box = self._box(entry.x, entry.y, entry.width, entry.height)
            except InvalidRowError as error:
                self._reject(error, "regions")
                continue
            overlaps = [(iou(box, region[1:5]), -region[0]) for region in self.regions]
            best, negative_number = max(overlaps, default=(0.0, 0))
            number = -negative_number
            if best < _MIN_IOU:
                number = len(self.regions)
                self.regions.append(rows.region_row(number, box, (), ""))
            yield TextRow("region", number, phrase, "", MODEL, "")

    def questions(self) -> Iterator[TextRow]:
        """Yield questions with answers; one about a single object refers to its region."""
        for value in self._entry.qas or ():
            try:
                entry = _QUESTIONS.convert(value, self._notes)
                question = rows.check_text(entry.question, "question")
                answer = rows.check_text(entry.answer, "answer")
            except InvalidRowError as error:
                self._reject(error, "qas")
                continue
            ids = {reference.object_id for reference in (*entry.q_objects, *entry.a_objects)}
            known = [self._numbers[id_] for id_ in ids if id_ in self._numbers]
            region = known[0] if len(known) == 1 else None
            yield TextRow("question", region, question, answer, MODEL, "")

    def _box(
        self, x: float | None, y: float | None, width: float | None, height: float | None
    ) -> Box:
        """Return a box clipped to the image."""
        if x is None or y is None or width is None or height is None:
            raise InvalidRowError("x", "a box needs x, y, width and height")
        right, bottom = self._size
        x2, y2 = min(x + width, float(right)), min(y + height, float(bottom))
        return rows.check_box([max(x, 0.0), max(y, 0.0), x2, y2], self._size, "x")


def _text(label: str, entry: _Object) -> str:
    """Return the label and the attributes of an object, each once; empty without attributes."""
    texts = [text.strip() for text in rows.as_list(entry.attributes)[:_MAX_ATTRIBUTES]]
    attributes = ", ".join(dict.fromkeys(text for text in texts if text))
    text = f"{label}: {attributes}" if label and attributes else attributes
    return rows.check_optional(text, "attributes")
