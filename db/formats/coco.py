"""COCO's JSON: instances (images, boxes, outlines, categories) and captions, in one file or two.

A region's number is its place among the annotations of its image, in order of their ids. A crowd
keeps its box; its run-length mask is noted, not kept. Captions become texts about the whole image.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from db.formats import rows
from db.formats.rows import ImportContext, InvalidRow, RegionRow, Row, RowRejection, TextRow

_MODEL = "COCO annotators"


def read(document: object, reading: ImportContext) -> Iterator[Row | RowRejection]:
    """One row an image, with those of its annotations that are right; each other one is rejected.

    `line` counts a list of the file from 1: images, or annotations.
    """
    if not isinstance(document, dict):
        raise InvalidRow("file", "no COCO file: an object with images and annotations is needed")
    images = rows.get(document, "images", list)
    annotations: defaultdict[object, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for line, annotation in enumerate(rows.get(document, "annotations", list), 1):
        if not isinstance(annotation, dict):
            yield RowRejection(line, "annotations", f"no object: {annotation!r:.60}")
            continue
        annotations[annotation.get("image_id")].append((line, annotation))
    labels = _names(document, "categories")
    licences = _names(document, "licenses")
    for line, image in enumerate(images, 1):
        mine = annotations.pop(image.get("id"), []) if isinstance(image, dict) else []
        try:
            name, size = _image(image, reading)
        except InvalidRow as bad:
            yield RowRejection(line, f"images.{bad.field}", bad.reason)
            yield from _orphans(mine, "its image was kept out")
            continue
        regions: list[RegionRow] = []
        texts: list[TextRow] = []
        for n, annotation in sorted(mine, key=lambda entry: str(entry[1].get("id")).zfill(20)):
            try:
                if "caption" in annotation:
                    words = rows.text(annotation["caption"], "caption")
                    texts.append(TextRow("scene", None, words, "", _MODEL, ""))
                else:
                    regions.append(_region(len(regions), annotation, size, labels, reading))
            except InvalidRow as bad:
                yield RowRejection(n, f"annotations.{bad.field}", bad.reason)
        licence = licences.get(image.get("license"), "")
        yield Row(line, name, size, regions, licence=licence, texts=texts)
    for left_over in annotations.values():
        yield from _orphans(left_over, "no such image")


def _orphans(annotations: list[tuple[int, dict[str, Any]]], reason: str) -> Iterator[RowRejection]:
    return (RowRejection(line, "annotations.image_id", reason) for line, _ in annotations)


def _names(document: dict[str, Any], field: str) -> dict[object, str]:
    return {
        entry.get("id"): str(entry.get("name", ""))[:400]
        for entry in document.get(field, [])
        if isinstance(entry, dict)
    }


def _image(image: object, reading: ImportContext) -> tuple[str, tuple[int, int]]:
    if not isinstance(image, dict):
        raise InvalidRow("id", f"no object: {image!r:.60}")
    name = rows.text(rows.get(image, "file_name", str), "file_name")
    size = reading.size_of(name, "file_name")
    stated = image.get("width", size[0]), image.get("height", size[1])
    if stated != size:
        raise InvalidRow("width", f"the file says {stated[0]}x{stated[1]}, the picture is {size}")
    return name, size


def _region(
    number: int,
    annotation: dict[str, Any],
    size: tuple[int, int],
    labels: dict[object, str],
    reading: ImportContext,
) -> RegionRow:
    corner_and_size = rows.get(annotation, "bbox", list)
    if len(corner_and_size) != 4 or not all(isinstance(v, int | float) for v in corner_and_size):  # noqa: PLR2004 - x, y, width, height
        raise InvalidRow("bbox", f"not four numbers: {corner_and_size!r:.60}")
    x, y, width, height = corner_and_size
    box = rows.box([x, y, x + width, y + height], size, "bbox")
    label = labels.get(annotation.get("category_id"), "")
    if annotation.get("iscrowd"):
        reading.notes["crowds: the box was kept, the mask was not"] += 1
        return rows.region(number, box, (), f"crowd of {label}")
    rings = rows.polygons(annotation.get("segmentation"), box, reading)
    return rows.region(number, box, rings, label)
