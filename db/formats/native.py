"""The project's own jsonl: a line is an image with its regions, and perhaps a triple about them.

    {"image": "a.jpg", "regions": [{"number": 0, "box": [x1, y1, x2, y2], "label": "dog"}],
     "question": "Why does [0] run?", "answer": "...", "rationale": "...", "source": "mine"}

Optional: a region's `polygons` (lists of [x, y]) and `caption`; the row's `scene` (a text about the
whole image, or a list of them), `shown` (regions drawn; default all), `kind`, `model`,
`prompt_version`, `scores`, `id`; `label`, which exports write and imports ignore, because it is no
vote; `width` and `height` of the image, and `pixels`: whether boxes are
in the `stored` or the `upright` pixels of a file with an EXIF orientation.
"""

from typing import Any

import msgspec

from db.formats import rows
from db.formats.rows import Frame, ImportContext, Number, RegionRow, Row, TextRow, TripleRow
from db.labelling.labels import Label
from db.reading.decoding import InvalidRowError, RecordDecoder
from regions.geometry import Region

_TEXTS = ("question", "answer", "rationale")
_PROVENANCE = ("kind", "source", "model", "prompt_version")


class _Region(msgspec.Struct, gc=False):
    number: Number
    box: list[float]
    polygons: object = None
    label: str = ""
    caption: str = ""


class _Record(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    image: str
    regions: list[_Region]
    scene: str | list[str] = []
    shown: list[Number] | None = None
    question: str | None = None
    answer: str | None = None
    rationale: str | None = None
    kind: str = ""
    source: str = ""
    model: str = ""
    prompt_version: str = ""
    scores: dict[str, float] = {}
    id: str | int | float = ""
    width: float | None = None
    height: float | None = None
    pixels: Frame | None = None
    label: object = None


DECODER = RecordDecoder(_Record)


def read(record: _Record, line: int, context: ImportContext) -> Row:
    """Return the row of one line; InvalidRowError if it is not valid."""
    name = rows.check_name(record.image, "image")
    size = context.stated_size(name, "image", record.width, record.height, "width", record.pixels)
    regions = [_region(region, size, context) for region in record.regions]
    numbers = rows.check_numbers([number for number, *_ in regions], "regions")
    scene = [
        TextRow("scene", None, text, "", context.source, "")
        for text in rows.check_texts(record.scene, "scene")
    ]
    captions = [
        TextRow("region", number, text, "", context.source, "")
        for number, region in zip(numbers, record.regions, strict=True)
        if (text := rows.check_optional(region.caption, "regions.caption"))
    ]
    return Row(
        line,
        name,
        size,
        regions,
        triple=_triple(record, numbers, context),
        texts=[*scene, *captions],
        scores=[
            (rows.check_name(run, "scores"), rows.check_score(score, "scores"))
            for run, score in record.scores.items()
        ],
        frame=record.pixels,
    )


def write(
    image: str,
    regions: list[Region],
    triple: TripleRow,
    run: str,
    score: float,
    *,
    label: Label | None = None,
) -> dict[str, Any]:
    """Return the row of a released triple; reading it gives the same triple again.

    `label` is the probability of acceptance by people's votes, with its 95 % interval.
    """
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
        **{field: getattr(triple, field) for field in _PROVENANCE},
        **({"id": triple.external_id} if triple.external_id else {}),
        "scores": {run: score},
        **({} if label is None else {"label": _label(label)}),
    }


def _label(label: Label) -> dict[str, Any]:
    """The label of a triple from votes."""
    return {
        "accept": round(label.probability, 6),
        "low": round(label.low, 6),
        "high": round(label.high, 6),
        "votes": label.votes,
    }


def _region(region: _Region, size: tuple[int, int], context: ImportContext) -> RegionRow:
    number = rows.check_number(region.number, "regions.number")
    box = rows.check_box(region.box, size, "regions.box")
    polygons = rows.parse_polygons(region.polygons, box, context)
    label = rows.check_label(region.label, "regions.label")
    return rows.region_row(number, box, polygons, label)


def _triple(record: _Record, numbers: list[int], context: ImportContext) -> TripleRow | None:
    """Return the triple of a row; None if it has none of the three texts."""
    stated = record.question, record.answer, record.rationale
    if stated == (None, None, None):
        return None
    visible = numbers if record.shown is None else rows.check_numbers(record.shown, "shown")
    if set(visible) - set(numbers):
        raise InvalidRowError("shown", f"not regions of this row: {visible!r:.60}")
    texts = []
    for field, text in zip(_TEXTS, stated, strict=True):
        if text is None:
            raise InvalidRowError(field, "missing")
        texts.append(rows.check_text(text, field, visible))
    question, answer, rationale = texts
    return TripleRow(
        question,
        answer,
        rationale,
        visible,
        rows.check_optional(record.kind, "kind", limit=rows.MAX_SHORT_CHARACTERS),
        rows.check_optional(record.source, "source", limit=rows.MAX_NAME_CHARACTERS)
        or context.source,
        rows.check_optional(record.model, "model", limit=rows.MAX_NAME_CHARACTERS),
        rows.check_optional(
            record.prompt_version, "prompt_version", limit=rows.MAX_SHORT_CHARACTERS
        ),
        rows.check_id(record.id),
    )
