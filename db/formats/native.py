"""The project's own jsonl: a line is an image with its regions, and perhaps a triple about them.

    {"image": "a.jpg", "regions": [{"number": 0, "box": [x1, y1, x2, y2], "label": "dog"}],
     "question": "Why does [0] run?", "answer": "...", "rationale": "...", "source": "mine"}

Optional: a region's `polygons` (lists of [x, y]) and `caption`; the row's `scene` (texts about the
whole image), `shown` (regions drawn; default all), `kind`, `model`, `prompt_version`, `scores`.
"""

from typing import Any

from db.formats import rows
from db.formats.rows import ImportContext, InvalidRowError, RegionRow, Row, TextRow, TripleRow
from regions.geometry import Region

_TEXTS = ("question", "answer", "rationale")
_OPTIONAL = ("kind", "source", "model", "prompt_version")
_KNOWN = {"image", "regions", "scene", "shown", "scores", *_TEXTS, *_OPTIONAL}


def read(record: dict[str, Any], line: int, context: ImportContext) -> Row:
    """Parse one line; InvalidRowError if it is not valid. Unknown fields are noted."""
    for field in record.keys() - _KNOWN:
        context.notes[f"unknown fields: {field[:60]}"] += 1
    name = rows.check_text(rows.get_field(record, "image", str), "image")
    size = context.image_size(name, "image")
    entries = rows.get_field(record, "regions", list)
    regions = [_region(entry, size, context) for entry in entries]
    numbers = rows.check_numbers([region[0] for region, _ in regions], "regions")
    scene = [
        TextRow("scene", None, rows.check_text(text, "scene"), "", context.source, "")
        for text in record.get("scene", [])
    ]
    captions = [
        TextRow("region", region[0], caption, "", context.source, "")
        for region, caption in regions
        if caption
    ]
    return Row(
        line,
        name,
        size,
        [region for region, _ in regions],
        triple=_triple(record, numbers, context) if record.keys() & set(_TEXTS) else None,
        texts=[*scene, *captions],
        scores=[
            (rows.check_text(run, "scores"), rows.check_score(score, "scores"))
            for run, score in record.get("scores", {}).items()
        ],
    )


def write(
    image: str, regions: list[Region], triple: TripleRow, run: str, score: float
) -> dict[str, Any]:
    """Return the row of a released triple; reading it gives the same triple again."""
    return {
        "image": image,
        "regions": [
            {
                "number": region.number,
                "box": list(region.box),
                "polygons": [[list(corner) for corner in ring] for ring in region.polygons],
                "label": region.label,
            }
            for region in regions
        ],
        **{field: getattr(triple, field) for field in _TEXTS},
        "shown": triple.visible_regions,
        **{field: getattr(triple, field) for field in _OPTIONAL},
        "scores": {run: score},
    }


def _region(value: object, size: tuple[int, int], context: ImportContext) -> tuple[RegionRow, str]:
    """Return a region and its caption."""
    entry = rows.check_object(value, "regions")
    box = rows.check_box(rows.get_field(entry, "box", list), size, "regions.box")
    label, caption = (
        rows.check_label(entry.get(field), f"regions.{field}") for field in ("label", "caption")
    )
    number = rows.check_number(entry.get("number"), "regions.number")
    polygons = rows.parse_polygons(entry.get("polygons"), box, context)
    return rows.region_row(number, box, polygons, label), caption


def _triple(record: dict[str, Any], numbers: list[int], context: ImportContext) -> TripleRow:
    visible = rows.check_numbers(record.get("shown", numbers), "shown")
    if set(visible) - set(numbers):
        raise InvalidRowError("shown", f"not regions of this row: {visible!r:.60}")
    question, answer, rationale = (
        rows.check_text(rows.get_field(record, field, str), field, visible) for field in _TEXTS
    )
    kind, source, model, version = (
        rows.check_text(record[field], field) if record.get(field) else "" for field in _OPTIONAL
    )
    source = source or context.source
    return TripleRow(question, answer, rationale, visible, kind, source, model, version)
