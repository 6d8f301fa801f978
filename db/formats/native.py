"""The project's own jsonl: a line is an image with its regions, and perhaps a triple about them.

    {"image": "a.jpg", "regions": [{"number": 0, "box": [x1, y1, x2, y2], "label": "dog"}],
     "question": "Why does [0] run?", "answer": "...", "rationale": "...", "source": "mine"}

Optional: a region's `polygons` (rings of [x, y]) and `caption`; the row's `scene` (texts about the
whole image), `shown` (regions drawn; default all), `kind`, `model`, `prompt_version`, `scores`.
"""

from typing import Any

from db.formats import rows
from db.formats.rows import ImportContext, InvalidRow, RegionRow, Row, TextRow, TripleRow
from regions.geometry import Region

_TEXTS = ("question", "answer", "rationale")
_OPTIONAL = ("kind", "source", "model", "prompt_version")
_KNOWN = {"image", "regions", "scene", "shown", "scores", *_TEXTS, *_OPTIONAL}


def read(record: dict[str, Any], line: int, reading: ImportContext) -> Row:
    """One line; Bad where it is none. Fields nobody knows are noted."""
    for field in record.keys() - _KNOWN:
        reading.notes[f"fields that are not known: {field[:60]}"] += 1
    name = rows.text(rows.get(record, "image", str), "image")
    size = reading.size_of(name, "image")
    found = [_region(entry, size, reading) for entry in rows.get(record, "regions", list)]
    numbers = [region[0] for region, _ in found]
    if len(set(numbers)) != len(numbers):
        raise InvalidRow("regions", "the same number twice")
    return Row(
        line,
        name,
        size,
        [region for region, _ in found],
        triple=_triple(record, numbers, reading) if record.keys() & set(_TEXTS) else None,
        texts=[
            *(
                TextRow("scene", None, rows.text(words, "scene"), "", reading.source, "")
                for words in record.get("scene", [])
            ),
            *(
                TextRow("region", region[0], caption, "", reading.source, "")
                for region, caption in found
                if caption
            ),
        ],
        scores=[_score(run, value) for run, value in record.get("scores", {}).items()],
    )


def write(
    image: str, regions: list[Region], triple: TripleRow, run: str, score: float
) -> dict[str, Any]:
    """The row of a kept triple; reading it gives the same triple again."""
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
        **triple._asdict(),
        "scores": {run: score},
    }


def _region(entry: object, size: tuple[int, int], reading: ImportContext) -> tuple[RegionRow, str]:
    if not isinstance(entry, dict):
        raise InvalidRow("regions", f"no object: {entry!r:.60}")
    box = rows.box(rows.get(entry, "box", list), size, "regions.box")
    label, caption = (
        rows.label(entry.get(field), f"regions.{field}") for field in ("label", "caption")
    )
    number = rows.number(entry.get("number"), "regions.number")
    rings = rows.polygons(entry.get("polygons"), box, reading)
    return rows.region(number, box, rings, label), caption


def _triple(record: dict[str, Any], numbers: list[int], reading: ImportContext) -> TripleRow:
    shown = [rows.number(n, "shown") for n in record.get("shown", numbers)]
    if set(shown) - set(numbers) or len(set(shown)) != len(shown):
        raise InvalidRow("shown", f"not regions of this row, each once: {shown!r:.60}")
    question, answer, rationale = (
        rows.text(rows.get(record, field, str), field, shown) for field in _TEXTS
    )
    kind, source, model, version = (
        rows.text(record[field], field) if record.get(field) else "" for field in _OPTIONAL
    )
    source = source or reading.source
    return TripleRow(question, answer, rationale, shown, kind, source, model, version)


def _score(run: str, value: object) -> tuple[str, float]:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidRow("scores", f"no share from 0 to 1: {value!r:.60}")
    return rows.text(run, "scores"), float(value)
