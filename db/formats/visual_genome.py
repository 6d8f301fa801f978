"""Visual Genome: objects with their attributes, described regions, questions with answers.

Any of its files (`objects`, `attributes`, `scene_graphs`, `region_descriptions`,
`question_answers`, `image_data`), or a folder of several: what they say of an image is one row.
Objects are the regions; a description joins the object whose box it shares, and is a region of its
own where there is none. Relationships are noted, not kept.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from db.formats import rows
from db.formats.json_lists import JsonListReader
from db.formats.rows import ImportContext, InvalidRow, RegionRow, Row, RowRejection, TextRow
from regions.errors import UserError
from regions.geometry import iou

MODEL = "Visual Genome annotators"
_LISTS = ("objects", "attributes", "regions", "qas")
_FOLDERS = ("VG_100K/", "VG_100K_2/", "")
_SHARED = 0.5
"""Intersection over union from which a description is about an object."""
_LISTED = 10
"""Attributes of an object that are told."""

Entry = dict[str, Any]


def read(documents: JsonListReader, reading: ImportContext) -> Iterator[Row | RowRejection]:
    """One row an image; `line` counts images from 1, in the order in which they are complete."""
    for line, (image_id, said) in enumerate(_images(documents, reading), 1):
        try:
            name, size = _image(image_id, said, reading)
        except InvalidRow as bad:
            yield RowRejection(line, bad.field, bad.reason)
            continue
        faults: list[RowRejection] = []
        regions, numbers, texts = _objects(said, size, line, faults)
        texts += _descriptions(said, size, line, faults, regions)
        texts += _questions(said, line, faults, numbers)
        yield from faults
        yield Row(line, name, size, regions, texts=texts)


def _images(documents: JsonListReader, reading: ImportContext) -> Iterator[tuple[int, Entry]]:
    """What all files say of an image, as soon as each that goes on has spoken of it.

    The files list images in about the same order, so that few of them wait.
    """
    streams = {file: documents.entries(file) for file in documents.files}
    waiting: dict[int, Entry] = {}
    seen: defaultdict[int, set[Path]] = defaultdict(set)
    while streams:
        spoken_of: set[int] = set()
        for file, stream in list(streams.items()):
            entry = next(stream, None)
            if entry is None:
                del streams[file]
                spoken_of.update(waiting)
                continue
            image_id, said = _entry(entry, file, reading)
            seen[image_id].add(file)
            waiting[image_id] = waiting.get(image_id, {}) | said
            spoken_of.add(image_id)
        for image_id in sorted(spoken_of):
            if seen[image_id] >= streams.keys():
                seen.pop(image_id)
                yield image_id, waiting.pop(image_id)
    yield from waiting.items()


def _entry(entry: object, file: Path, reading: ImportContext) -> tuple[int, Entry]:
    """Which image an entry is about, and what it says of it."""
    found = entry.get("image_id", entry.get("id")) if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or type(found) is not int:
        raise UserError(
            "this is no file of Visual Genome: an entry names no image",
            where=str(file),
            hint="give objects.json, attributes.json, region_descriptions.json, their like,"
            " or a folder of them",
        )
    if entry.get("relationships"):
        reading.notes["images with relationships, which are not kept"] += 1
    said = {name: entry[name] for name in _LISTS if isinstance(entry.get(name), list)}
    if "url" in entry:
        said |= {name: entry.get(name) for name in ("url", "width", "height")}
    return found, said


def _image(image_id: int, said: Entry, reading: ImportContext) -> tuple[str, tuple[int, int]]:
    url = str(said.get("url", ""))
    folders = [folder for folder in _FOLDERS if folder and f"/{folder}" in url]
    for folder in (*folders, *_FOLDERS):
        name = f"{folder}{image_id}.jpg"
        try:
            size = reading.size_of(name, "image")
        except InvalidRow:
            continue
        stated = said.get("width", size[0]), said.get("height", size[1])
        if stated != size:
            reason = f"the file says {stated[0]}x{stated[1]}, the picture is {size[0]}x{size[1]}"
            raise InvalidRow("image_data", reason)
        return name, size
    raise InvalidRow("image", f"there is no {image_id}.jpg, nor in VG_100K or VG_100K_2")


def _objects(
    said: Entry, size: tuple[int, int], line: int, faults: list[RowRejection]
) -> tuple[list[RegionRow], dict[object, int], list[TextRow]]:
    """The objects as regions by their ids, their numbers, and texts of their attributes."""
    by_id: dict[int, Entry] = {}
    for entry in (*said.get("objects", ()), *said.get("attributes", ())):
        found = entry.get("object_id") if isinstance(entry, dict) else None
        if type(found) is int:
            by_id[found] = by_id.get(found, {}) | entry
        else:
            faults.append(RowRejection(line, "objects.object_id", f"no object: {entry!r:.60}"))
    regions: list[RegionRow] = []
    numbers: dict[object, int] = {}
    texts: list[TextRow] = []
    for object_id, entry in sorted(by_id.items()):
        try:
            names = [name for name in entry.get("names", ()) if isinstance(name, str)]
            label = rows.label(names[0] if names else "", "objects.names")
            region = rows.region(len(regions), _box(entry, size, "objects"), (), label)
        except InvalidRow as bad:
            faults.append(RowRejection(line, bad.field, bad.reason))
            continue
        numbers[object_id] = len(regions)
        attributes = [a.strip() for a in entry.get("attributes", ()) if isinstance(a, str)]
        if told := ", ".join(dict.fromkeys(a for a in attributes[:_LISTED] if a)):
            words = f"{label}: {told}" if label else told
            texts.append(TextRow("region", len(regions), words, "", MODEL, ""))
        regions.append(region)
    return regions, numbers, texts


def _descriptions(
    said: Entry,
    size: tuple[int, int],
    line: int,
    faults: list[RowRejection],
    regions: list[RegionRow],
) -> list[TextRow]:
    """What people wrote about boxes; `regions` grows by those that are of no object."""
    texts = []
    for found in said.get("regions", ()):
        try:
            entry = _object(found, "regions")
            phrase = rows.text(entry.get("phrase"), "regions.phrase")
            box = _box(entry, size, "regions")
        except InvalidRow as bad:
            faults.append(RowRejection(line, bad.field, bad.reason))
            continue
        shared = [(iou(box, region[1:5]), -region[0]) for region in regions]
        best, number = max(shared, default=(0.0, 0))
        if best < _SHARED:
            number = -len(regions)
            regions.append(rows.region(len(regions), box, (), ""))
        texts.append(TextRow("region", -number, phrase, "", MODEL, ""))
    return texts


def _questions(
    said: Entry, line: int, faults: list[RowRejection], numbers: dict[object, int]
) -> list[TextRow]:
    """Questions with their answers; one that is about one object is about its region."""
    texts = []
    for found in said.get("qas", ()):
        try:
            entry = _object(found, "qas")
            question = rows.text(entry.get("question"), "qas.question")
            answer = rows.text(entry.get("answer"), "qas.answer")
        except InvalidRow as bad:
            faults.append(RowRejection(line, bad.field, bad.reason))
            continue
        named = [*(entry.get("q_objects") or ()), *(entry.get("a_objects") or ())]
        about = {o.get("object_id") for o in named if isinstance(o, dict)} & numbers.keys()
        region = numbers[about.pop()] if len(about) == 1 else None
        texts.append(TextRow("question", region, question, answer, MODEL, ""))
    return texts


def _object(found: object, field: str) -> Entry:
    if not isinstance(found, dict):
        raise InvalidRow(field, f"no object: {found!r:.60}")
    return found


def _box(entry: Entry, size: tuple[int, int], field: str) -> tuple[float, float, float, float]:
    """Its box, which may reach over the picture's edge: what is outside is cut."""
    height, width = (entry.get(long, entry.get(long[0])) for long in ("height", "width"))
    values = entry.get("x"), entry.get("y"), width, height
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        raise InvalidRow(f"{field}.x", f"no box: {values!r:.60}")
    x, y, w, h = (float(v) for v in values)  # type: ignore[arg-type]
    cut = [max(x, 0.0), max(y, 0.0), min(x + w, float(size[0])), min(y + h, float(size[1]))]
    return rows.box(cut, size, f"{field}.x")
