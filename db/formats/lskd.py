"""The released LSKD files, jsonl: a triple per line, as token lists in which regions are lists.

Fields read: image, source, region_all, references (a list, or an object by number; boxes, segms,
obj_guess), question, answer, rationale. prediction, qa_score and r_score become scores of external
runs; label and reject_label become votes. `index` and `split` are dropped: the store splits by
image. Accept is 1 here; what a number means in the file depends on its field, or on the caller.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from db.formats import rows
from db.formats.rows import ImportContext, InvalidRowError, RegionRow, Row, TripleRow, VoteRow
from db.schema import Decision
from regions import references
from regions.geometry import Region

_TEXTS = ("question", "answer", "rationale")
_SCORES = ("prediction", "qa_score", "r_score")
_MODEL = "LSKD teacher"


def read(record: dict[str, Any], line: int, context: ImportContext) -> Row:
    """Parse one line; InvalidRowError if it is not valid."""
    name = rows.check_text(rows.get_field(record, "image", str), "image")
    size = context.image_size(name, "image")
    stored = rows.get_field(record, "references", (list, dict))
    regions = context.cached_regions(stored, name, lambda: _regions(stored, size, context))
    visible = _visible_regions(record, [number for number, *_ in regions], context)
    question, answer, rationale = (
        parse_text(rows.get_field(record, field, (list, str)), field, visible) for field in _TEXTS
    )
    source = rows.check_text(rows.get_field(record, "source", str), "source")
    return Row(
        line,
        name,
        size,
        regions,
        triple=TripleRow(question, answer, rationale, visible, "", source, _MODEL, ""),
        votes=list(_votes(record, context)),
        scores=[
            (f"lskd {field}", rows.check_score(record[field], field))
            for field in _SCORES
            if field in record
        ],
    )


def write(
    image: str, regions: list[Region], triple: TripleRow, index: int, score: float
) -> dict[str, Any]:
    """Return the row of a released triple; reading it gives the same triple again."""
    texts = {field: references.to_tokens(getattr(triple, field)) for field in _TEXTS}
    mentioned = references.mentioned(f"{triple.question} {triple.answer} {triple.rationale}")
    return {
        "image": image,
        "source": triple.source,
        "split": "train",
        "index": f"{triple.source}-{index}",
        "region": list(mentioned),
        "region_all": triple.visible_regions,
        "references": [
            {
                "name": str(region.number),
                "boxes": [list(region.box)],
                "segms": [[list(corner) for corner in ring] for ring in region.polygons] or None,
                "obj_guess": region.label,
            }
            for region in regions
        ],
        **texts,
        "prediction": score,
    }


def parse_text(value: list[Any] | str, field: str, visible_regions: Sequence[int]) -> str:
    """Return the text of a token list, in which a reference is a list of region numbers."""
    if isinstance(value, list):
        try:
            value = references.from_tokens(value)
        except (ValueError, TypeError) as error:
            raise InvalidRowError(field, str(error)) from error
    return rows.check_text(value, field, visible_regions)


def _by_number(stored: list[Any] | dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the references of a row, in either of the two released layouts, by region number."""
    pairs: Iterable[tuple[object, object]] = (
        stored.items()
        if isinstance(stored, dict)
        else ((r.get("name") if isinstance(r, dict) else None, r) for r in stored)
    )
    for name, reference in pairs:
        entry = rows.check_object(reference, "references")
        yield rows.check_number(name, "references.name"), entry


def _regions(
    stored: list[Any] | dict[str, Any], size: tuple[int, int], context: ImportContext
) -> list[RegionRow]:
    regions = [
        _region(number, reference, size, context) for number, reference in _by_number(stored)
    ]
    rows.check_numbers([number for number, *_ in regions], "references")
    return regions


def _region(
    number: int, reference: dict[str, Any], size: tuple[int, int], context: ImportContext
) -> RegionRow:
    boxes = reference.get("boxes")
    if not isinstance(boxes, list) or not boxes or not isinstance(boxes[0], list):
        raise InvalidRowError("references.boxes", f"no box for region [{number}]")
    if len(boxes) > 1:
        context.notes["regions with several boxes: only the first was imported"] += 1
    box = rows.check_box(boxes[0][:4], size, "references.boxes")  # the fifth is a detection score
    polygons = rows.parse_polygons(reference.get("segms"), box, context)
    label = rows.check_label(reference.get("obj_guess"), "references.obj_guess")
    return rows.region_row(number, box, polygons, label)


def _visible_regions(
    record: dict[str, Any], with_box: list[int], context: ImportContext
) -> list[int]:
    """Return the regions drawn: `region_all`, or all references in files without that field."""
    if record.get("region_all") is None:
        return with_box
    stated = rows.check_numbers(rows.get_field(record, "region_all", list), "region_all")
    visible = [number for number in stated if number in with_box]
    if len(visible) < len(stated):
        context.notes["rows that show regions without a box: those regions were dropped"] += 1
    return visible


def _votes(record: dict[str, Any], context: ImportContext) -> Iterator[VoteRow]:
    """Yield the votes of a label file: one per worker in `label`; in `reject_label`, 1 rejects."""
    if (label := record.get("label")) is not None:
        for worker, value in enumerate(label if isinstance(label, list) else [label], 1):
            yield VoteRow(f"{context.source} worker {worker}", _decision(value, context), [])
    if (reject := record.get("reject_label")) is not None:
        if reject not in {0, 1}:
            raise InvalidRowError("reject_label", f"must be 0 or 1 (got {reject!r:.60})")
        yield VoteRow(f"{context.source} label", "reject" if reject else "accept", [])


def _decision(value: object, context: ImportContext) -> Decision:
    if value == "accept":
        return "accept"
    if value == "reject":
        return "reject"
    if value not in (0, 1):
        raise InvalidRowError("label", f"neither accept nor reject: {value!r:.60}")
    if context.accept_means is None:
        raise InvalidRowError(
            "label", "a number, which is ambiguous: use --accept-means 1 or --accept-means 0"
        )
    return "accept" if str(int(bool(value))) == context.accept_means else "reject"
