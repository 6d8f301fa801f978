"""The released LSKD files, jsonl: a triple a line, as token lists in which region ids are lists.

Fields read: image, source, region_all, references (a list, or an object by id; boxes, segms,
obj_guess), question, answer, rationale; prediction, qa_score and r_score become scores of foreign
runs; label and reject_label become votes. `index` and `split` are not kept: the store splits by
image. Accept is 1 here; in the file a number means what its field, or the caller, says it does.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from db.formats import rows
from db.formats.rows import ImportContext, InvalidRow, RegionRow, Row, TripleRow, VoteRow
from db.schema import Decision
from regions import references
from regions.geometry import Region

_TEXTS = ("question", "answer", "rationale")
_SCORES = ("prediction", "qa_score", "r_score")
_MODEL = "LSKD teacher"


def read(record: dict[str, Any], line: int, reading: ImportContext) -> Row:
    """One line of a released file; Bad where it is none."""
    name = rows.text(rows.get(record, "image", str), "image")
    size = reading.size_of(name, "image")
    written = rows.get(record, "references", (list, dict))
    regions = reading.cached_regions(written, name, lambda: _regions(written, size, reading))
    known = [number for number, *_ in regions]
    shown = _shown(record, known, reading)
    question, answer, rationale = (
        _text(rows.get(record, field, (list, str)), field, shown) for field in _TEXTS
    )
    source = rows.text(rows.get(record, "source", str), "source")
    return Row(
        line,
        name,
        size,
        regions,
        triple=TripleRow(question, answer, rationale, shown, "", source, _MODEL, ""),
        votes=list(_votes(record, reading)),
        scores=[(f"lskd {name}", _score(record, name)) for name in _SCORES if name in record],
    )


def write(
    image: str, regions: list[Region], triple: TripleRow, index: int, score: float
) -> dict[str, Any]:
    """The released row of a kept triple; reading it gives the same triple again."""
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


def _by_number(found: list[Any] | dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The references of a row in either of the two shapes that were released."""
    pairs: Iterable[tuple[object, object]] = (
        found.items()
        if isinstance(found, dict)
        else ((r.get("name") if isinstance(r, dict) else None, r) for r in found)
    )
    for key, reference in pairs:
        if not isinstance(reference, dict):
            raise InvalidRow("references", f"no object: {reference!r:.60}")
        yield rows.number(key, "references.name"), reference


def _regions(
    written: list[Any] | dict[str, Any], size: tuple[int, int], reading: ImportContext
) -> list[RegionRow]:
    regions = [
        _region(number, reference, size, reading) for number, reference in _by_number(written)
    ]
    if len({number for number, *_ in regions}) != len(regions):
        raise InvalidRow("references", "the same region twice")
    return regions


def _region(
    number: int, reference: dict[str, Any], size: tuple[int, int], reading: ImportContext
) -> RegionRow:
    boxes = reference.get("boxes")
    if not isinstance(boxes, list) or not boxes or not isinstance(boxes[0], list):
        raise InvalidRow("references.boxes", f"no box for region [{number}]")
    if len(boxes) > 1:
        reading.notes["regions with several boxes: the first was kept"] += 1
    box = rows.box(boxes[0][:4], size, "references.boxes")  # a fifth value is a detector's score
    rings = rows.polygons(reference.get("segms"), box, reading)
    label = rows.label(reference.get("obj_guess"), "references.obj_guess")
    return rows.region(number, box, rings, label)


def _shown(record: dict[str, Any], known: list[int], reading: ImportContext) -> list[int]:
    """The regions drawn: `region_all`, or all references in files that have no such field."""
    if record.get("region_all") is None:
        return known
    shown = [rows.number(n, "region_all") for n in rows.get(record, "region_all", list)]
    if len(set(shown)) != len(shown):
        raise InvalidRow("region_all", "the same region twice")
    if len(kept := [n for n in shown if n in known]) < len(shown):
        reading.notes["rows that show regions without a box: those regions were left out"] += 1
    return kept


def _text(value: list[Any] | str, field: str, shown: list[int]) -> str:
    if isinstance(value, list):
        try:
            value = references.from_tokens(value)
        except (ValueError, TypeError) as error:
            raise InvalidRow(field, str(error)) from error
    return rows.text(value, field, shown)


def _score(record: dict[str, Any], field: str) -> float:
    value = rows.get(record, field, (int, float))
    if not 0 <= value <= 1:
        raise InvalidRow(field, f"no share from 0 to 1: {value}")
    return float(value)


def _votes(record: dict[str, Any], reading: ImportContext) -> Iterator[VoteRow]:
    """The votes of a label file: one a worker in `label`; in `reject_label` one, and 1 rejects."""
    if (label := record.get("label")) is not None:
        for worker, judgement in enumerate(label if isinstance(label, list) else [label], 1):
            yield VoteRow(f"{reading.source} worker {worker}", _decision(judgement, reading), [])
    if (reject := record.get("reject_label")) is not None:
        if reject not in {0, 1}:
            raise InvalidRow("reject_label", f"neither 0 nor 1: {reject!r:.60}")
        yield VoteRow(f"{reading.source} label", "reject" if reject else "accept", [])


def _decision(judgement: object, reading: ImportContext) -> Decision:
    if judgement == "accept":
        return "accept"
    if judgement == "reject":
        return "reject"
    if judgement not in (0, 1):
        raise InvalidRow("label", f"neither accept nor reject: {judgement!r:.60}")
    if reading.accept_means is None:
        raise InvalidRow(
            "label", "a number, which has meant both: say which one with --accept-means"
        )
    return "accept" if str(int(bool(judgement))) == reading.accept_means else "reject"
