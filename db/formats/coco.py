"""COCO's JSON: instances (images, boxes, polygons, categories) and captions, in one file or two.

Regions are numbered per image, in the order of annotation ids. Of a mask the box is kept; the mask
is dropped and noted. Captions become texts about the whole image. Ids match as texts: 1 is "1".
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from db.formats import rows
from db.formats.rows import ImportContext, RegionRow, Row, RowRejection, TextRow
from db.reading.decoding import InvalidRowError, RecordDecoder, T, parse_tolerant

_MODEL = "COCO annotators"

Id = int | float | str


class _Image(msgspec.Struct, gc=False):
    id: Id
    file_name: str
    width: float | None = None
    height: float | None = None
    license: Id | None = None


class _Annotation(msgspec.Struct, gc=False):
    image_id: Id
    id: Id | None = None
    caption: str | None = None
    bbox: list[float] | None = None
    category_id: Id | None = None
    segmentation: object = None
    iscrowd: bool | int | float = False


class _Name(msgspec.Struct, gc=False):
    id: Id
    name: str


class _Document(msgspec.Struct):
    """A file. The entries of its lists are decoded one by one."""

    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw] | None = None
    categories: list[msgspec.Raw] | None = None
    licenses: list[msgspec.Raw] | None = None


class _TolerantDocument(msgspec.Struct):
    """A file that is not strict JSON, such as one with NaN."""

    images: list[object]
    annotations: list[object] = []
    categories: list[object] = []
    licenses: list[object] = []


_IMAGES = RecordDecoder(_Image, "images")
_ANNOTATIONS = RecordDecoder(_Annotation, "annotations")
_CATEGORIES = RecordDecoder(_Name, "categories")
_LICENCES = RecordDecoder(_Name, "licenses")
_TOLERANT = RecordDecoder(_TolerantDocument, "file")

Annotations = list[tuple[int, _Annotation]]
"""Annotations of an image, with their places in the file's list."""


def read(content: bytes, context: ImportContext) -> Iterator[Row | RowRejection]:
    """Yield one row per image, with its valid annotations, and a rejection per invalid one.

    `line` counts the entries of the file's list of images, or of annotations, from 1.
    InvalidRowError if the file is not one of COCO.
    """
    document = _parse(content, context)
    reader = _DocumentReader(context)
    images = reader.entries(document.images, _IMAGES)
    annotations: defaultdict[str, Annotations] = defaultdict(list)
    for line, annotation in reader.entries(document.annotations, _ANNOTATIONS):
        annotations[_key(annotation.image_id)].append((line, annotation))
    labels = reader.names(document.categories, _CATEGORIES)
    licences = reader.names(document.licenses, _LICENCES)
    for line, image, of_image in reader.joined(images, annotations):
        try:
            name = rows.check_name(image.file_name, "file_name")
            size = context.stated_size(name, "file_name", image.width, image.height, "width")
        except InvalidRowError as error:
            reader.reject(line, f"images.{error.field}", error.reason)
            reader.reject_all(of_image, "the image was rejected")
            continue
        regions, texts = reader.annotations(of_image, size, labels)
        licence = "" if image.license is None else licences.get(_key(image.license), "")
        yield Row(line, name, size, regions, licence=licence, texts=texts)
    for remaining in annotations.values():
        reader.reject_all(remaining, "no such image")
    yield from reader.rejections


def _parse(content: bytes, context: ImportContext) -> _Document | _TolerantDocument:
    try:
        return msgspec.json.decode(content, type=_Document)
    except (msgspec.MsgspecError, RecursionError):
        return _TOLERANT.convert(parse_tolerant(content, "file"), context.notes)


def _key(value: Id) -> str:
    """Return an id as a text: files write some ids as numbers, and others as texts."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


class _DocumentReader:
    """Reads the parts of a file and collects what is rejected."""

    def __init__(self, context: ImportContext) -> None:
        self._context, self._notes = context, context.notes
        self.rejections: list[RowRejection] = []

    def reject(self, line: int, field: str, reason: str) -> None:
        """Add a rejection."""
        self.rejections.append(RowRejection(line, field, reason))

    def reject_all(self, annotations: Annotations, reason: str) -> None:
        """Reject annotations because of their image."""
        for line, _ in annotations:
            self.reject(line, "annotations.image_id", reason)

    def entries(
        self, values: Sequence[object] | None, decoder: RecordDecoder[T]
    ) -> list[tuple[int, T]]:
        """Return the valid entries of a list of the file, with their places from 1."""
        entries = []
        for line, value in enumerate(values or (), 1):
            try:
                entries.append((line, decoder.decode_any(value, self._notes)))
            except InvalidRowError as error:
                name = decoder.name
                field = name if error.field == name else f"{name}.{error.field}"
                self.reject(line, field, error.reason)
        return entries

    def names(
        self, values: Sequence[object] | None, decoder: RecordDecoder[_Name]
    ) -> dict[str, str]:
        """Return the names of categories or licences by id."""
        names = {}
        for line, entry in self.entries(values, decoder):
            try:
                names[_key(entry.id)] = rows.check_name(entry.name, "name")
            except InvalidRowError as error:
                self.reject(line, f"{decoder.name}.{error.field}", error.reason)
        return names

    def joined(
        self, images: list[tuple[int, _Image]], annotations: dict[str, Annotations]
    ) -> Iterator[tuple[int, _Image, Annotations]]:
        """Yield each image once, with all annotations that refer to it.

        Entries of one id that name several files are rejected: annotations may mean either.
        """
        files_of: defaultdict[str, set[str]] = defaultdict(set)
        ids_of: defaultdict[str, set[str]] = defaultdict(set)
        for _, image in images:
            files_of[_key(image.id)].add(image.file_name)
            ids_of[image.file_name].add(_key(image.id))
        for line, image in images:
            key = _key(image.id)
            if len(files_of[key]) > 1:
                self.reject(line, "images.id", "the id of several images")
                self.reject_all(annotations.pop(key, []), "the id of several images")
                continue
            ids = ids_of.pop(image.file_name, None)
            if ids is None:
                self._notes["images listed more than once: their entries were joined"] += 1
                continue
            yield line, image, [entry for id_ in ids for entry in annotations.pop(id_, [])]

    def annotations(
        self, annotations: Annotations, size: tuple[int, int], labels: Mapping[str, str]
    ) -> tuple[list[RegionRow], list[TextRow]]:
        """Return the regions and captions of an image."""
        regions: list[RegionRow] = []
        texts: list[TextRow] = []
        for line, annotation in sorted(annotations, key=lambda entry: _order(entry[1])):
            try:
                if annotation.caption is not None:
                    caption = rows.check_text(annotation.caption, "caption")
                    texts.append(TextRow("scene", None, caption, "", _MODEL, ""))
                else:
                    regions.append(self._region(len(regions), annotation, size, labels))
            except InvalidRowError as error:
                self.reject(line, f"annotations.{error.field}", error.reason)
        return regions, texts

    def _region(
        self,
        number: int,
        annotation: _Annotation,
        size: tuple[int, int],
        labels: Mapping[str, str],
    ) -> RegionRow:
        if annotation.bbox is None or len(annotation.bbox) != 4:  # noqa: PLR2004 - x, y, width, height
            raise InvalidRowError("bbox", f"not four numbers: {annotation.bbox!r:.60}")
        x, y, width, height = annotation.bbox
        box = rows.check_box([x, y, x + width, y + height], size, "bbox")
        label = self._label(annotation, labels)
        polygons = rows.parse_polygons(annotation.segmentation, box, self._context)
        return rows.region_row(number, box, polygons, label)

    def _label(self, annotation: _Annotation, labels: Mapping[str, str]) -> str:
        category = annotation.category_id
        label = labels.get(_key(category)) if category is not None else None
        if label is None:
            problem = "without a category" if category is None else "of an unknown category"
            self._notes[f"annotations {problem}: imported without a label"] += 1
            label = ""
        if annotation.iscrowd:
            return f"crowd of {label}" if label else "crowd"
        return label


def _order(annotation: _Annotation) -> str:
    return "" if annotation.id is None else _key(annotation.id).zfill(20)
