"""COCO's JSON: instances (images, boxes, polygons, categories) and captions, in one file or two.

Regions are numbered per image, in the order of annotation ids. Of a crowd the box is kept; its
run-length mask is dropped and noted. Captions become texts about the whole image.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from db.formats import rows
from db.formats.rows import ImportContext, InvalidRowError, RegionRow, Row, RowRejection, TextRow

_MODEL = "COCO annotators"
_MAX_NAME_CHARACTERS = 400

Annotations = list[tuple[int, dict[str, Any]]]
"""Annotations of an image, with their places in the file's list."""


def read(document: object, context: ImportContext) -> Iterator[Row | RowRejection]:
    """Yield one row per image, with its valid annotations, and a rejection per invalid one.

    `line` counts the entries of the file's list of images, or of annotations, from 1.
    """
    if not isinstance(document, dict):
        raise InvalidRowError("file", "not an object with images and annotations")
    images = rows.get_field(document, "images", list)
    by_image: defaultdict[object, Annotations] = defaultdict(list)
    for line, annotation in enumerate(rows.get_field(document, "annotations", list), 1):
        if not isinstance(annotation, dict):
            yield RowRejection(line, "annotations", f"not an object: {annotation!r:.60}")
            continue
        by_image[annotation.get("image_id")].append((line, annotation))
    labels = _names_by_id(document, "categories")
    licences = _names_by_id(document, "licenses")
    for line, image in enumerate(images, 1):
        annotations = by_image.pop(image.get("id"), []) if isinstance(image, dict) else []
        try:
            name, size = _image(image, context)
        except InvalidRowError as error:
            yield RowRejection(line, f"images.{error.field}", error.reason)
            yield from _reject_all(annotations, "the image was rejected")
            continue
        regions, texts, rejections = _read_annotations(annotations, size, labels, context)
        yield from rejections
        licence = licences.get(image.get("license"), "")
        yield Row(line, name, size, regions, licence=licence, texts=texts)
    for annotations in by_image.values():
        yield from _reject_all(annotations, "no such image")


def _read_annotations(
    annotations: Annotations,
    size: tuple[int, int],
    labels: dict[object, str],
    context: ImportContext,
) -> tuple[list[RegionRow], list[TextRow], list[RowRejection]]:
    regions: list[RegionRow] = []
    texts: list[TextRow] = []
    rejections: list[RowRejection] = []
    for line, annotation in sorted(
        annotations, key=lambda entry: str(entry[1].get("id")).zfill(20)
    ):
        try:
            if "caption" in annotation:
                caption = rows.check_text(annotation["caption"], "caption")
                texts.append(TextRow("scene", None, caption, "", _MODEL, ""))
            else:
                regions.append(_region(len(regions), annotation, size, labels, context))
        except InvalidRowError as error:
            rejections.append(RowRejection(line, f"annotations.{error.field}", error.reason))
    return regions, texts, rejections


def _reject_all(annotations: Annotations, reason: str) -> Iterator[RowRejection]:
    return (RowRejection(line, "annotations.image_id", reason) for line, _ in annotations)


def _names_by_id(document: dict[str, Any], field: str) -> dict[object, str]:
    return {
        entry.get("id"): str(entry.get("name", ""))[:_MAX_NAME_CHARACTERS]
        for entry in document.get(field, [])
        if isinstance(entry, dict)
    }


def _image(value: object, context: ImportContext) -> tuple[str, tuple[int, int]]:
    image = rows.check_object(value, "id")
    name = rows.check_text(rows.get_field(image, "file_name", str), "file_name")
    size = context.image_size(name, "file_name")
    stated = image.get("width", size[0]), image.get("height", size[1])
    rows.check_stated_size(stated, size, "width")
    return name, size


def _region(
    number: int,
    annotation: dict[str, Any],
    size: tuple[int, int],
    labels: dict[object, str],
    context: ImportContext,
) -> RegionRow:
    bbox = rows.get_field(annotation, "bbox", list)
    if len(bbox) != 4 or not all(isinstance(value, int | float) for value in bbox):  # noqa: PLR2004 - x, y, width, height
        raise InvalidRowError("bbox", f"not four numbers: {bbox!r:.60}")
    x, y, width, height = bbox
    box = rows.check_box([x, y, x + width, y + height], size, "bbox")
    label = labels.get(annotation.get("category_id"), "")
    if annotation.get("iscrowd"):
        context.notes["crowds: only the box was imported, not the mask"] += 1
        return rows.region_row(number, box, (), f"crowd of {label}")
    polygons = rows.parse_polygons(annotation.get("segmentation"), box, context)
    return rows.region_row(number, box, polygons, label)
