"""Visual Genome: objects with attributes, region descriptions, and questions with answers.

Reads any of its files (`objects`, `attributes`, `scene_graphs`, `region_descriptions`,
`question_answers`, `image_data`), or a folder of several, whose entries for an image are joined to
one row. Objects become regions. A description belongs to the object with the same box, or else
becomes a region of its own. Relationships are dropped and noted.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from db.formats import rows
from db.formats.json_lists import JsonListReader
from db.formats.rows import ImportContext, InvalidRowError, RegionRow, Row, RowRejection, TextRow
from regions.errors import InvalidError
from regions.geometry import Box, iou

MODEL = "Visual Genome annotators"
_LISTS = ("objects", "attributes", "regions", "qas")
_FOLDERS = ("VG_100K/", "VG_100K_2/", "")
_MIN_IOU = 0.5
"""Intersection over union at which a description belongs to an object."""
_MAX_ATTRIBUTES = 10
"""Attributes of an object in its text."""

Entry = dict[str, Any]


def read(lists: JsonListReader, context: ImportContext) -> Iterator[Row | RowRejection]:
    """Yield one row per image; `line` counts images from 1, in the order in which they complete."""
    for line, (image_id, entry) in enumerate(_joined_entries(lists, context), 1):
        try:
            name, size = _image(image_id, entry, context)
        except InvalidRowError as error:
            yield RowRejection(line, error.field, error.reason)
            continue
        reader = _EntryReader(entry, size, line)
        texts = [*reader.objects(), *reader.descriptions(), *reader.questions()]
        yield from reader.rejections
        yield Row(line, name, size, reader.regions, texts=texts)


def _joined_entries(lists: JsonListReader, context: ImportContext) -> Iterator[tuple[int, Entry]]:
    """Yield each image's entries of all files, joined, as soon as no file can have another.

    The files list images in similar orders, so few entries are kept in memory.
    """
    streams = {file: lists.entries(file) for file in lists.files}
    pending: dict[int, Entry] = {}
    files_of: defaultdict[int, set[Path]] = defaultdict(set)
    while streams:
        updated: set[int] = set()
        for file, stream in list(streams.items()):
            entry = next(stream, None)
            if entry is None:
                del streams[file]
                updated.update(pending)
                continue
            image_id, content = _parse_entry(entry, file, context)
            files_of[image_id].add(file)
            pending[image_id] = pending.get(image_id, {}) | content
            updated.add(image_id)
        for image_id in sorted(updated):
            if files_of[image_id] >= streams.keys():
                files_of.pop(image_id)
                yield image_id, pending.pop(image_id)
    yield from pending.items()


def _parse_entry(entry: object, file: Path, context: ImportContext) -> tuple[int, Entry]:
    """Return the image id of an entry, and what is imported of it."""
    image_id = entry.get("image_id", entry.get("id")) if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or type(image_id) is not int:
        raise InvalidError(
            "not a file of Visual Genome: an entry has no image id",
            where=str(file),
            hint="use objects.json, attributes.json, region_descriptions.json and so on, or a"
            " folder of them",
        )
    if entry.get("relationships"):
        context.notes["images with relationships, which were dropped"] += 1
    content = {name: entry[name] for name in _LISTS if isinstance(entry.get(name), list)}
    if "url" in entry:
        content |= {name: entry.get(name) for name in ("url", "width", "height")}
    return image_id, content


def _image(image_id: int, entry: Entry, context: ImportContext) -> tuple[str, tuple[int, int]]:
    """Return the name and size of an image; its folder is in the URL, or tried."""
    url = str(entry.get("url", ""))
    stated_folders = [folder for folder in _FOLDERS if folder and f"/{folder}" in url]
    for folder in (*stated_folders, *_FOLDERS):
        name = f"{folder}{image_id}.jpg"
        try:
            size = context.image_size(name, "image")
        except InvalidRowError:
            continue
        stated = entry.get("width", size[0]), entry.get("height", size[1])
        rows.check_stated_size(stated, size, "image_data")
        return name, size
    raise InvalidRowError("image", f"no {image_id}.jpg here, in VG_100K or in VG_100K_2")


class _EntryReader:
    """Reads the lists of one image's entry: `objects` first, which numbers the regions."""

    def __init__(self, entry: Entry, size: tuple[int, int], line: int) -> None:
        self._entry, self._size, self._line = entry, size, line
        self._numbers: dict[object, int] = {}
        """Region numbers by object id."""
        self.regions: list[RegionRow] = []
        self.rejections: list[RowRejection] = []

    def _reject(self, field: str, reason: str) -> None:
        self.rejections.append(RowRejection(self._line, field, reason))

    def objects(self) -> Iterator[TextRow]:
        """Add the objects as regions, in order of their ids; yield texts of their attributes."""
        by_id: dict[int, Entry] = {}
        for value in (*self._entry.get("objects", ()), *self._entry.get("attributes", ())):
            object_id = value.get("object_id") if isinstance(value, dict) else None
            if type(object_id) is int:
                by_id[object_id] = by_id.get(object_id, {}) | value
            else:
                self._reject("objects.object_id", f"not an object: {value!r:.60}")
        for object_id, entry in sorted(by_id.items()):
            number = len(self.regions)
            try:
                names = [name for name in entry.get("names", ()) if isinstance(name, str)]
                label = rows.check_label(names[0] if names else "", "objects.names")
                region = rows.region_row(number, self._box(entry, "objects"), (), label)
            except InvalidRowError as error:
                self._reject(error.field, error.reason)
                continue
            self._numbers[object_id] = number
            self.regions.append(region)
            if attributes := _attributes(entry):
                text = f"{label}: {attributes}" if label else attributes
                yield TextRow("region", number, text, "", MODEL, "")

    def descriptions(self) -> Iterator[TextRow]:
        """Yield the region descriptions; those of no object add a region."""
        for value in self._entry.get("regions", ()):
            try:
                entry = rows.check_object(value, "regions")
                phrase = rows.check_text(entry.get("phrase"), "regions.phrase")
                box = self._box(entry, "regions")
            except InvalidRowError as error:
                self._reject(error.field, error.reason)
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
        for value in self._entry.get("qas", ()):
            try:
                entry = rows.check_object(value, "qas")
                question = rows.check_text(entry.get("question"), "qas.question")
                answer = rows.check_text(entry.get("answer"), "qas.answer")
            except InvalidRowError as error:
                self._reject(error.field, error.reason)
                continue
            objects = [*(entry.get("q_objects") or ()), *(entry.get("a_objects") or ())]
            ids = {o.get("object_id") for o in objects if isinstance(o, dict)}
            known = ids & self._numbers.keys()
            region = self._numbers[known.pop()] if len(known) == 1 else None
            yield TextRow("question", region, question, answer, MODEL, "")

    def _box(self, entry: Entry, field: str) -> Box:
        """Return the box of an entry, clipped to the image."""
        height, width = (entry.get(name, entry.get(name[0])) for name in ("height", "width"))
        values = entry.get("x"), entry.get("y"), width, height
        if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            raise InvalidRowError(f"{field}.x", f"not a box: {values!r:.60}")
        x, y, w, h = (float(v) for v in values)  # type: ignore[arg-type]
        right, bottom = self._size
        box = [max(x, 0.0), max(y, 0.0), min(x + w, float(right)), min(y + h, float(bottom))]
        return rows.check_box(box, self._size, f"{field}.x")


def _attributes(entry: Entry) -> str:
    """Return the attributes of an object, comma-separated, each once."""
    texts = [text.strip() for text in entry.get("attributes", ()) if isinstance(text, str)]
    return ", ".join(dict.fromkeys(text for text in texts[:_MAX_ATTRIBUTES] if text))
