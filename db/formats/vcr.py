"""VCR's annotations, jsonl: a question with its correct answer and rationale is a triple.

Boxes and polygons come from the metadata file beside each image. Texts are token lists in which
objects are lists of indices, which are the region numbers. The test split has no labels: of it only
the regions are imported, which is noted. Incorrect choices are dropped.
"""

import msgspec

from db.formats import rows
from db.formats.lskd import parse_text
from db.formats.rows import ImportContext, RegionRow, Row, TripleRow
from db.reading.decoding import InvalidRowError, RecordDecoder
from regions.references import Token

_MODEL = "VCR annotators"


class _Record(msgspec.Struct, gc=False):
    img_fn: str
    metadata_fn: str
    objects: list[str]
    question: list[Token]
    answer_choices: list[list[Token]] = []
    rationale_choices: list[list[Token]] = []
    answer_label: int | None = None
    rationale_label: int | None = None
    annot_id: str | int | float = ""


class _Metadata(msgspec.Struct, gc=False):
    boxes: list[list[float]]
    segms: list[object] = []
    width: float | None = None
    height: float | None = None


DECODER = RecordDecoder(_Record)
_METADATA_DECODER = RecordDecoder(_Metadata, "file")


def read(record: _Record, line: int, context: ImportContext) -> Row:
    """Return the row of a line of `train.jsonl`, `val.jsonl` or `test.jsonl`."""
    name = rows.check_name(record.img_fn, "img_fn")
    size = context.image_size(name, "img_fn")
    metadata = rows.check_text(record.metadata_fn, "metadata_fn")
    regions = context.cached_regions(
        metadata, name, lambda: _regions(name, metadata, record.objects, context)
    )
    if len(regions) != len(record.objects):
        reason = f"{len(record.objects)} here, {len(regions)} in the metadata"
        raise InvalidRowError("objects", reason)
    visible = [number for number, *_ in regions]
    question = parse_text(record.question, "question", visible)
    if record.answer_label is None:
        context.notes["questions without labels (test split): only regions were imported"] += 1
        return Row(line, name, size, regions)
    answer = _correct_choice("answer", record.answer_choices, record.answer_label, visible)
    rationale = _correct_choice(
        "rationale", record.rationale_choices, record.rationale_label, visible
    )
    annot_id = rows.check_id(record.annot_id)
    triple = TripleRow(question, answer, rationale, visible, "", "vcr", _MODEL, "", annot_id)
    return Row(line, name, size, regions, triple=triple)


def _regions(
    image: str, metadata_name: str, labels: list[str], context: ImportContext
) -> list[RegionRow]:
    """Return the regions in the pixels of `ImportContext.image_size`."""
    metadata = context.load_json(metadata_name, "metadata_fn", _METADATA_DECODER)
    size = context.image_size(image, "img_fn")
    stated = metadata.width, metadata.height
    if context.stated_size(image, "img_fn", *stated, "metadata_fn") != size:
        raise InvalidRowError("metadata_fn", "boxes in pixels of another orientation: see --boxes")
    regions = []
    for number, value in enumerate(metadata.boxes):
        box = rows.check_box(value[:4], size, "metadata_fn")  # the fifth is a detection score
        outline = metadata.segms[number] if number < len(metadata.segms) else None
        polygons = rows.parse_polygons(outline, box, context)
        label = rows.check_label(labels[number] if number < len(labels) else "", "objects")
        regions.append(rows.region_row(number, box, polygons, label))
    return regions


def _correct_choice(
    name: str, choices: list[list[Token]], label: int | None, visible: list[int]
) -> str:
    if label is None:
        raise InvalidRowError(f"{name}_label", "missing")
    if not 0 <= label < len(choices):
        raise InvalidRowError(f"{name}_label", f"no choice {label} among {len(choices)}")
    return parse_text(choices[label], f"{name}_choices", visible)
