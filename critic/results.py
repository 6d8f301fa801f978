"""Results of a critic's run, as stored in `runs.results` and shown by commands and pages."""

from dataclasses import dataclass, field, fields

from db.store.releases import Guarantee
from db.store.results import UNDEFINED, Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Metrics of a critic on labelled triples; intervals are bootstrapped over images."""

    average_precision: Estimate = UNDEFINED
    auroc: Estimate = UNDEFINED
    best_f1: Estimate = UNDEFINED
    """The highest F1 of any threshold."""
    f1_at_08: Estimate = UNDEFINED
    """F1 at the threshold that the LSKD paper filters at."""
    precision_in_top_fifth: Estimate = UNDEFINED
    brier: Estimate = UNDEFINED
    calibration_error: Estimate = UNDEFINED


METRICS = tuple(f.name for f in fields(Metrics))


@dataclass(frozen=True, slots=True)
class Band:
    """A metric at each threshold with its 95 % interval; None where it is undefined."""

    value: list[float | None]
    low: list[float | None]
    high: list[float | None]


@dataclass(frozen=True, slots=True)
class CurveTable:
    """Precision, recall and F1 of accepting by threshold, ascending; at most 400 thresholds."""

    threshold: list[float]
    precision: Band
    recall: Band
    f1: Band
    kept_share: list[float]


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """A tenth of the test triples, by score."""

    mean_score: float
    acceptance_rate: float
    triples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Metrics):
    """Metrics, curve and calibration of a critic on labelled triples of test images."""

    acceptance_rate: float | None
    """Share of the test triples that people accept: the precision without a critic."""
    test_images: int
    curve: CurveTable
    calibration: list[CalibrationBin] = field(default_factory=list)


Composition = dict[str, dict[str, list[int]]]
"""Dimension -> value -> how many triples score at least each hundredth, shape (101,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticResults(Evaluation):
    """Everything that a critic's run stores; fields are None where an older version wrote it."""

    labelled_triples: int | None = None
    train_triples: int | None = None
    test_triples: int | None = None
    excluded_from_test: int | None = None
    """Labelled test triples that were not selected for labelling at random."""
    truncated_texts: int | None = None
    best_epoch: int | None = None
    processes: int | None = None
    reduced_micro_batch_size: int | None = None
    reduced_score_batch_size: int | None = None
    unreadable_images: int | None = None
    """Images that could not be read; their triples were left out."""
    unreadable_example: str | None = None
    """The error of one of them."""
    scored_triples: int | None = None
    """Triples scored when the critic was last asked to score."""
    unreadable_triples: int | None = None
    """Triples without a score, since their image could not be read."""
    seconds_per_1000: float | None = None
    usd_per_1000: float | None = None
    """What judgements of language models cost that the scores rest on."""
    composition: Composition = field(default_factory=dict)
    guarantees: list[Guarantee] = field(default_factory=list)
    """Every threshold that was certified or could not be, newest first."""


LONG_FIELDS = ("curve", "calibration", "composition", "guarantees")
"""Fields of `CriticResults` that a table has no room for."""
