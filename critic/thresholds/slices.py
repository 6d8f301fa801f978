"""A critic by kinds of triples: a filter that keeps only the easy ones is seen here."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from critic.thresholds.curve import bands
from critic.thresholds.evaluation import plain
from critic.thresholds.labelled_scores import Evidence, voted
from db.schema import Image, ImageRegion, Run, Score, Triple
from regions import references

DIMENSIONS = ("source", "kind", "model", "prompt version", "regions", "box size")
_CHUNK = 20_000
_SMALL, _LARGE = 0.05, 0.25
"""Shares of the picture: regions below are small, above large."""
_FEW = 2
"""Regions that a triple mentions; above, they are counted as more."""


def kinds_of(session: Session, query: Any) -> Iterator[tuple[int, float, tuple[str, ...]]]:  # noqa: ANN401 - a select of (triple id, score)
    """Id, score, and the value of each of `DIMENSIONS`, of the triples that `query` finds."""
    wanted = query.subquery()
    rows = session.execute(
        select(
            wanted.c.id,
            wanted.c.value,
            Triple.image_id,
            Triple.question,
            Triple.answer,
            Triple.rationale,
            Triple.source,
            Triple.kind,
            Triple.model,
            Triple.prompt_version,
        )
        .join(Triple, Triple.id == wanted.c.id)
        .order_by(Triple.image_id, Triple.id)
    )
    for some in rows.partitions(_CHUNK):
        areas = _areas(session, {row.image_id for row in some})
        for row in some:
            mentioned = references.mentioned(f"{row.question} {row.answer} {row.rationale}")
            yield (
                row.id,
                row.value,
                (
                    row.source,
                    row.kind or "not stated",
                    row.model or "not stated",
                    row.prompt_version or "not stated",
                    _count(len(mentioned)),
                    _size([areas[row.image_id][n] for n in mentioned if n in areas[row.image_id]]),
                ),
            )


def composition(session: Session, run_id: int) -> dict[str, dict[str, list[int]]]:
    """How many triples of each kind reach each hundredth of the scores: shape (101,) a value."""
    counts: defaultdict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    query = select(Score.triple_id.label("id"), Score.value).where(Score.run_id == run_id)
    for _, score, values in kinds_of(session, query):
        # A triple reaches every threshold up to its score, also the one that equals it.
        place = int(np.floor(score * 100 + 1e-9))
        for dimension, value in zip(DIMENSIONS, values, strict=True):
            counts[dimension, value][place] += 1
    found: dict[str, dict[str, list[int]]] = {name: {} for name in DIMENSIONS}
    for (dimension, value), reached in sorted(counts.items()):
        each = np.array([reached[place] for place in range(101)])
        found[dimension][value] = np.cumsum(each[::-1])[::-1].tolist()
    return found


def slices(
    session: Session,
    run: Run,
    tested: Evidence,
    threshold: float,
    dimension: str,
    *,
    resamples: int,
) -> list[dict[str, Any]]:
    """What a threshold does to each value of a dimension, on labelled test triples and on all."""
    place = DIMENSIONS.index(dimension)
    ids = select(Score.triple_id.label("id"), Score.value).where(
        Score.run_id == run.id, Score.triple_id.in_(voted(run, "test"))
    )
    value_of = {i: values[place] for i, _, values in kinds_of(session, ids)}
    values = np.array([value_of.get(int(i), "") for i in tested.triples])
    everywhere = run.results.get("composition", {}).get(dimension, {})
    at = round(threshold * 100)
    kept_all = sum(counts[at] for counts in everywhere.values()) or 1
    count_all = sum(counts[0] for counts in everywhere.values()) or 1
    return [
        {
            dimension: value,
            **_figures(tested.where(values == value), threshold, resamples),
            "of all": plain(everywhere[value][0] / count_all) if value in everywhere else None,
            "of the kept": plain(everywhere[value][at] / kept_all) if value in everywhere else None,
        }
        for value in sorted({*everywhere, *values.tolist()} - {""})
    ]


def _figures(some: Evidence, threshold: float, resamples: int) -> dict[str, Any]:
    """Precision and recall of accepting, with intervals by image."""
    kept = some.scores >= threshold
    right, accepted = (kept & some.accepted).sum(), some.accepted.sum()
    told: dict[str, Any] = {
        "labelled": len(some),
        "acceptance": plain(some.accepted.mean()) if len(some) else None,
        "precision": plain(right / kept.sum()) if kept.any() else None,
        "precision interval": None,
        "recall": plain(right / accepted) if accepted else None,
    }
    if kept.any() and len(np.unique(some.images)) > 1:
        around = bands(
            some.accepted,
            some.scores,
            some.images,
            np.array([threshold]),
            resamples=resamples,
            rng=np.random.default_rng(0),
        )
        told["precision interval"] = plain(around["precision"][0])
    return told


def _count(mentioned: int) -> str:
    return str(mentioned) if mentioned <= _FEW else f"{_FEW + 1} or more"


def _size(areas: list[float]) -> str:
    """By the smallest region that a triple mentions."""
    if not areas:
        return "none"
    smallest = min(areas)
    if smallest < _SMALL:
        return f"small, under {_SMALL:.0%}"
    return "medium" if smallest <= _LARGE else f"large, over {_LARGE:.0%}"


def _areas(session: Session, image_ids: set[int]) -> dict[int, dict[int, float]]:
    """The share of its picture that each region's box covers, by image and number."""
    rows = session.execute(
        select(
            ImageRegion.image_id,
            ImageRegion.number,
            (ImageRegion.x2 - ImageRegion.x1)
            * (ImageRegion.y2 - ImageRegion.y1)
            / (Image.width * Image.height),
        )
        .join(Image, Image.id == ImageRegion.image_id)
        .where(ImageRegion.image_id.in_(image_ids))
    )
    found: dict[int, dict[int, float]] = {image_id: {} for image_id in image_ids}
    for image_id, number, share in rows:
        found[image_id][number] = share
    return found
