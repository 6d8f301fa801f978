"""A critic by groups of triples: source, kind, model, prompt, regions, box size.

A filter that keeps only easy triples shows here: the share of easy groups grows.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from critic.results import Composition
from critic.thresholds.curve import bootstrap_bands
from critic.thresholds.evaluation import to_estimate
from critic.thresholds.labelled_scores import LabelledScores, labelled_triple_ids
from db.schema import Image, ImageRegion, Run, Score, Triple
from db.store.results import UNDEFINED, Estimate
from regions import references

DIMENSIONS = ("source", "kind", "model", "prompt_version", "regions", "box_size")
_CHUNK_SIZE = 20_000
_STEPS = 100
"""Compositions are counted at each hundredth of the scores."""
_SMALL, _LARGE = 0.05, 0.25
"""Shares of the image area: boxes below are small, above large."""
_MAX_REGION_COUNT = 2
"""Triples that mention more regions are counted together."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One value of a dimension: metrics on labelled test triples, and shares of all triples."""

    value: str
    labelled_triples: int
    acceptance_rate: float | None
    precision: Estimate
    recall: float | None
    share_of_all: float | None
    share_of_kept: float | None


def iter_slice_values(
    session: Session,
    query: Any,  # noqa: ANN401 - a select of (triple id, score)
) -> Iterator[tuple[int, float, tuple[str, ...]]]:
    """Id, score and the value of each of `DIMENSIONS` of the triples that `query` selects."""
    selected = query.subquery()
    rows = session.execute(
        select(
            selected.c.id,
            selected.c.value,
            Triple.image_id,
            Triple.question,
            Triple.answer,
            Triple.rationale,
            Triple.source,
            Triple.kind,
            Triple.model,
            Triple.prompt_version,
        )
        .join(Triple, Triple.id == selected.c.id)
        .order_by(Triple.image_id, Triple.id)
    )
    for chunk in rows.partitions(_CHUNK_SIZE):
        areas = _region_areas(session, {row.image_id for row in chunk})
        for row in chunk:
            numbers = references.mentioned(f"{row.question} {row.answer} {row.rationale}")
            of_image = areas[row.image_id]
            yield (
                row.id,
                row.value,
                (
                    row.source,
                    row.kind or "not stated",
                    row.model or "not stated",
                    row.prompt_version or "not stated",
                    _region_count(len(numbers)),
                    _box_size([of_image[n] for n in numbers if n in of_image]),
                ),
            )


def composition(session: Session, run_id: int) -> Composition:
    """How many triples of each value score at least each hundredth, shape (101,) per value."""
    counts: defaultdict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    query = select(Score.triple_id.label("id"), Score.value).where(Score.run_id == run_id)
    for _, score, values in iter_slice_values(session, query):
        # The epsilon keeps a score of 0.29 in step 29 despite rounding errors.
        step = int(np.floor(score * _STEPS + 1e-9))
        for dimension, value in zip(DIMENSIONS, values, strict=True):
            counts[dimension, value][step] += 1
    found: Composition = {name: {} for name in DIMENSIONS}
    for (dimension, value), by_step in sorted(counts.items()):
        each = np.array([by_step[step] for step in range(_STEPS + 1)])
        found[dimension][value] = np.cumsum(each[::-1])[::-1].tolist()
    return found


def slices(
    session: Session,
    run: Run,
    tested: LabelledScores,
    threshold: float,
    dimension: str,
    *,
    resamples: int,
) -> list[Slice]:
    """The effect of a threshold on each value of a dimension."""
    index = DIMENSIONS.index(dimension)
    query = select(Score.triple_id.label("id"), Score.value).where(
        Score.run_id == run.id, Score.triple_id.in_(labelled_triple_ids(run, "test"))
    )
    value_of = {i: values[index] for i, _, values in iter_slice_values(session, query)}
    values = np.array([value_of.get(int(i), "") for i in tested.triple_ids])
    counts = run.results.get("composition", {}).get(dimension, {})
    step = round(threshold * _STEPS)
    n_all = sum(reached[0] for reached in counts.values()) or 1
    n_kept = sum(reached[step] for reached in counts.values()) or 1
    return [
        Slice(
            value,
            *_metrics(tested.subset(values == value), threshold, resamples),
            counts[value][0] / n_all if value in counts else None,
            counts[value][step] / n_kept if value in counts else None,
        )
        for value in sorted({*counts, *values.tolist()} - {""})
    ]


def _metrics(
    labelled: LabelledScores, threshold: float, resamples: int
) -> tuple[int, float | None, Estimate, float | None]:
    """Number of triples, acceptance rate, precision and recall of accepting."""
    kept = labelled.scores >= threshold
    correct, accepted = int((kept & labelled.accepted).sum()), int(labelled.accepted.sum())
    precision = UNDEFINED
    if kept.any():
        precision = Estimate(correct / int(kept.sum()))
        if len(np.unique(labelled.image_ids)) > 1:
            bands = bootstrap_bands(
                labelled.accepted,
                labelled.scores,
                labelled.image_ids,
                np.array([threshold]),
                resamples=resamples,
                rng=np.random.default_rng(0),
            )
            precision = to_estimate(correct / int(kept.sum()), bands["precision"][0])
    return (
        len(labelled),
        accepted / len(labelled) if len(labelled) else None,
        precision,
        correct / accepted if accepted else None,
    )


def _region_count(count: int) -> str:
    return str(count) if count <= _MAX_REGION_COUNT else f"{_MAX_REGION_COUNT + 1} or more"


def _box_size(areas: list[float]) -> str:
    """The size class of the smallest region that a triple mentions."""
    if not areas:
        return "none"
    smallest = min(areas)
    if smallest < _SMALL:
        return f"small, under {_SMALL:.0%}"
    return "medium" if smallest <= _LARGE else f"large, over {_LARGE:.0%}"


def _region_areas(session: Session, image_ids: set[int]) -> dict[int, dict[int, float]]:
    """The share of the image area that each region's box covers, by image and number."""
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
    areas: dict[int, dict[int, float]] = {image_id: {} for image_id in image_ids}
    for image_id, number, share in rows:
        areas[image_id][number] = share
    return areas
