"""VCR's annotations, jsonl: a question with its correct answer and rationale is a triple.

Boxes and polygons come from the metadata file beside each image. Texts are token lists in which
objects are lists of indices, which are the region numbers. The test split has no labels: of it only
the regions are imported, which is noted. Incorrect choices are dropped.
"""

from typing import Any

from db.formats import rows
from db.formats.lskd import parse_text
from db.formats.rows import ImportContext, InvalidRowError, RegionRow, Row, TripleRow

_MODEL = "VCR annotators"
_CHOICES = (("answer", "answer_label"), ("rationale", "rationale_label"))


def read(record: dict[str, Any], line: int, context: ImportContext) -> Row:
    """Parse a line of `train.jsonl`, `val.jsonl` or `test.jsonl`; InvalidRowError if invalid."""
    name = rows.check_text(rows.get_field(record, "img_fn", str), "img_fn")
    size = context.image_size(name, "img_fn")
    labels = rows.get_field(record, "objects", list)
    metadata = rows.check_text(rows.get_field(record, "metadata_fn", str), "metadata_fn")
    regions = context.cached_regions(
        metadata, name, lambda: _regions(metadata, labels, size, context)
    )
    if len(regions) != len(labels):
        raise InvalidRowError("objects", f"{len(labels)} here, {len(regions)} in the metadata")
    visible = [number for number, *_ in regions]
    question = parse_text(rows.get_field(record, "question", list), "question", visible)
    if record.get("answer_label") is None:
        context.notes["questions without labels (test split): only regions were imported"] += 1
        return Row(line, name, size, regions)
    answer, rationale = (
        parse_text(_correct_choice(record, field, label), f"{field}_choices", visible)
        for field, label in _CHOICES
    )
    triple = TripleRow(question, answer, rationale, visible, "", "vcr", _MODEL, "")
    return Row(line, name, size, regions, triple=triple)


def _regions(
    metadata_name: str, labels: list[Any], size: tuple[int, int], context: ImportContext
) -> list[RegionRow]:
    metadata = context.load_json(metadata_name, "metadata_fn")
    outlines = metadata.get("segms") or []
    regions = []
    for number, value in enumerate(rows.get_field(metadata, "boxes", list)):
        if not isinstance(value, list):
            raise InvalidRowError("metadata_fn", f"not a box: {value!r:.60}")
        box = rows.check_box(value[:4], size, "metadata_fn")  # the fifth is a detection score
        outline = outlines[number] if number < len(outlines) else None
        polygons = rows.parse_polygons(outline, box, context)
        label = rows.check_label(labels[number] if number < len(labels) else "", "objects")
        regions.append(rows.region_row(number, box, polygons, label))
    return regions


def _correct_choice(record: dict[str, Any], field: str, label_field: str) -> list[Any]:
    choices = rows.get_field(record, f"{field}_choices", list)
    label = rows.get_field(record, label_field, int)
    if not 0 <= label < len(choices) or not isinstance(choices[label], list):
        raise InvalidRowError(label_field, f"no choice {label} among {len(choices)}")
    return list(choices[label])
