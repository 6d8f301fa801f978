"""VCR's annotations, jsonl: a question with its right answer and rationale is a triple.

Boxes and outlines come from the metadata file that lies beside each image. Texts are token lists in
which objects are lists of indices: those are the region numbers. The test split has no labels: its
regions are kept, and its questions noted. The wrong choices are not kept.
"""

from typing import Any

from db.formats import rows
from db.formats.rows import ImportContext, InvalidRow, RegionRow, Row, TripleRow
from regions import references

_MODEL = "VCR annotators"
_CHOICES = (("answer", "answer_label"), ("rationale", "rationale_label"))


def read(record: dict[str, Any], line: int, reading: ImportContext) -> Row:
    """One line of `train.jsonl`, `val.jsonl` or `test.jsonl`; Bad where it is none."""
    name = rows.text(rows.get(record, "img_fn", str), "img_fn")
    size = reading.size_of(name, "img_fn")
    labels = rows.get(record, "objects", list)
    metadata = rows.text(rows.get(record, "metadata_fn", str), "metadata_fn")
    regions = reading.cached_regions(
        metadata, name, lambda: _regions(metadata, labels, size, reading)
    )
    if len(regions) != len(labels):
        raise InvalidRow("objects", f"{len(labels)} here, {len(regions)} in the metadata")
    shown = [number for number, *_ in regions]
    question = _text(rows.get(record, "question", list), "question", shown)
    if record.get("answer_label") is None:
        reading.notes["questions without labels (the test split): regions were kept"] += 1
        return Row(line, name, size, regions)
    answer, rationale = (
        _text(_chosen(record, choice, label), f"{choice}_choices", shown)
        for choice, label in _CHOICES
    )
    triple = TripleRow(question, answer, rationale, shown, "", "vcr", _MODEL, "")
    return Row(line, name, size, regions, triple=triple)


def _regions(
    name: str, labels: list[Any], size: tuple[int, int], reading: ImportContext
) -> list[RegionRow]:
    metadata = reading.document(name, "metadata_fn")
    boxes = rows.get(metadata, "boxes", list)
    outlines = metadata.get("segms") or []
    found = []
    for number, box in enumerate(boxes):
        if not isinstance(box, list):
            raise InvalidRow("metadata_fn", f"no box: {box!r:.60}")
        inside = rows.box(box[:4], size, "metadata_fn")  # a fifth value is a detector's score
        rings = outlines[number] if number < len(outlines) else None
        label = rows.label(labels[number] if number < len(labels) else "", "objects")
        found.append(rows.region(number, inside, rows.polygons(rings, inside, reading), label))
    return found


def _chosen(record: dict[str, Any], choice: str, label: str) -> list[Any]:
    choices = rows.get(record, f"{choice}_choices", list)
    number = rows.get(record, label, int)
    if not 0 <= number < len(choices) or not isinstance(choices[number], list):
        raise InvalidRow(label, f"no choice {number} among {len(choices)}")
    return list(choices[number])


def _text(tokens: list[Any], field: str, shown: list[int]) -> str:
    try:
        return rows.text(references.from_tokens(tokens), field, shown)
    except (ValueError, TypeError) as error:
        raise InvalidRow(field, str(error)) from error
