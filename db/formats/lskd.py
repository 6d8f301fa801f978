"""The released LSKD files, jsonl: a triple per line, as token lists in which regions are lists.

Fields read: image, source, region_all, references (a list, or an object by number; boxes, segms,
obj_guess), question, answer, rationale. prediction, qa_score and r_score become scores of external
runs; label and reject_label become votes; `index` is the triple's id. `split` is dropped: the
store splits by image. `pixels` (see `native`) is ours. Accept is 1 here; what a number means in the
file depends on its field, or on the caller.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec

from db.formats import rows
from db.formats.rows import Frame, ImportContext, Number, RegionRow, Row, TripleRow, VoteRow
from db.reading.decoding import InvalidRowError, RecordDecoder
from db.schema import Decision
from regions import references
from regions.geometry import Region
from regions.references import Token

_TEXTS = ("question", "answer", "rationale")
_MODEL = "LSKD teacher"

Label = bool | int | float | str
"""A decision: `accept` or `reject`, or a number."""


class _Vote(msgspec.Struct, gc=False):
    annotator: str
    decision: Label


class _Reference(msgspec.Struct, gc=False):
    name: Number | None = None
    boxes: list[list[float]] | None = None
    segms: object = None
    obj_guess: str | None = None


class _Record(msgspec.Struct, gc=False):
    image: str
    source: str
    references: list[_Reference] | dict[str, _Reference]
    question: str | list[Token]
    answer: str | list[Token]
    rationale: str | list[Token]
    region_all: list[Number] | None = None
    prediction: float | None = None
    qa_score: float | None = None
    r_score: float | None = None
    index: str | int | float = ""
    label: Label | list[Label | _Vote] | dict[str, Label] | None = None
    annotators: list[str] | None = None
    reject_label: Label | None = None
    pixels: Frame | None = None


DECODER = RecordDecoder(_Record)


def read(record: _Record, line: int, context: ImportContext) -> Row:
    """Return the row of one line; InvalidRowError if it is not valid."""
    name = rows.check_name(record.image, "image")
    size = context.image_size(name, "image", record.pixels)
    regions = context.cached_regions(
        record.references, name, lambda: _regions(record.references, size, context)
    )
    visible = _visible_regions(record, [number for number, *_ in regions], context)
    question = parse_text(record.question, "question", visible)
    answer = parse_text(record.answer, "answer", visible)
    rationale = parse_text(record.rationale, "rationale", visible)
    source = rows.check_name(record.source, "source")
    index = rows.check_id(record.index)
    return Row(
        line,
        name,
        size,
        regions,
        triple=TripleRow(question, answer, rationale, visible, "", source, _MODEL, "", index),
        votes=list(_votes(record, context)),
        scores=list(_scores(record)),
        frame=record.pixels,
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
        "index": triple.external_id or f"{triple.source}-{index}",
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


def parse_text(value: str | list[Token], field: str, visible_regions: Sequence[int]) -> str:
    """Return the text of a token list, in which a reference is a list of region numbers."""
    if not isinstance(value, list):
        return rows.check_text(value, field, visible_regions)
    try:
        text, numbers = references.text_and_numbers(value)
    except ValueError as error:
        raise InvalidRowError(field, str(error)) from error
    # If every bracket is that of a token, there is no need to look for other references.
    if text.count("[") == len(numbers) and all(number in visible_regions for number in numbers):
        return rows.check_text(text, field)
    return rows.check_text(text, field, visible_regions)


def _scores(record: _Record) -> Iterator[tuple[str, float]]:
    for field, score in (
        ("prediction", record.prediction),
        ("qa_score", record.qa_score),
        ("r_score", record.r_score),
    ):
        if score is not None:
            yield f"lskd {field}", rows.check_score(score, field)


def _regions(
    stored: list[_Reference] | dict[str, _Reference], size: tuple[int, int], context: ImportContext
) -> list[RegionRow]:
    """Return the regions of a row, in either of the two released layouts."""
    if isinstance(stored, dict):
        regions = [_region(name, entry, size, context) for name, entry in stored.items()]
    else:
        regions = [_region(entry.name, entry, size, context) for entry in stored]
    rows.check_numbers([number for number, *_ in regions], "references")
    return regions


def _region(
    name: Number | None, reference: _Reference, size: tuple[int, int], context: ImportContext
) -> RegionRow:
    if name is None:
        raise InvalidRowError("references.name", "missing")
    number = rows.check_number(name, "references.name")
    if not reference.boxes:
        raise InvalidRowError("references.boxes", f"no box for region [{number}]")
    if len(reference.boxes) > 1:
        context.notes["regions with several boxes: only the first was imported"] += 1
    # The fifth number is a detection score.
    box = rows.check_box(reference.boxes[0][:4], size, "references.boxes")
    polygons = rows.parse_polygons(reference.segms, box, context)
    label = rows.check_label(reference.obj_guess, "references.obj_guess")
    return rows.region_row(number, box, polygons, label)


def _visible_regions(record: _Record, with_box: list[int], context: ImportContext) -> list[int]:
    """Return the regions drawn: `region_all`, or all references in files without that field."""
    if record.region_all is None:
        return with_box
    stated = rows.check_numbers(record.region_all, "region_all")
    visible = [number for number in stated if number in with_box]
    if len(visible) < len(stated):
        context.notes["rows that show regions without a box: those regions were dropped"] += 1
    return visible


def _votes(record: _Record, context: ImportContext) -> Iterator[VoteRow]:
    """Yield the votes of a label file. In `reject_label`, 1 rejects."""
    for place, (name, value) in enumerate(_labels(record), 1):
        person = name or f"{context.source} worker {place}"
        decision = parse_decision(value, context.accept_means, "label")
        yield VoteRow(rows.check_name(person, "label"), decision, [], anonymous=name is None)
    if (reject := record.reject_label) is not None:
        if reject not in {0, 1}:
            raise InvalidRowError("reject_label", f"must be 0 or 1 (got {reject!r:.60})")
        decision = "reject" if reject else "accept"
        yield VoteRow(f"{context.source} label", decision, [], anonymous=True)


def _labels(record: _Record) -> list[tuple[str | None, Label]]:
    """Return who voted what: as `label` or `annotators` says.

    In a list without names the people are unknown: a place is not the same person in every row.
    """
    label = record.label
    if label is None:
        return []
    if isinstance(label, dict):
        return list(label.items())
    votes = label if isinstance(label, list) else [label]
    names: Sequence[str | None] = record.annotators or [None] * len(votes)
    if len(names) != len(votes):
        raise InvalidRowError("annotators", f"{len(names)} names for {len(votes)} votes")
    return [
        (vote.annotator, vote.decision) if isinstance(vote, _Vote) else (name, vote)
        for name, vote in zip(names, votes, strict=True)
    ]


def parse_decision(
    value: Label, accept_means: str | None, field: str, *, allow_skip: bool = False
) -> Decision:
    """Return a decision; a number is one only if the caller says which number means accept."""
    word = value.strip().lower() if isinstance(value, str) else ""
    decisions = ("accept", "reject", "skip") if allow_skip else ("accept", "reject")
    if word in decisions:
        return cast("Decision", word)
    if value not in {0, 1}:
        raise InvalidRowError(field, f"neither {' nor '.join(decisions)}: {value!r:.60}")
    if accept_means is None:
        raise InvalidRowError(
            field, "a number, which is ambiguous: use --accept-means 1 or --accept-means 0"
        )
    return "accept" if str(int(value)) == accept_means else "reject"
