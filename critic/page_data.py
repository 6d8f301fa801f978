"""What the critic's page and commands show; pages themselves query and compute nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from critic.results import CalibrationBin, Composition, CriticResults, CurveTable
from critic.settings import check_threshold
from critic.thresholds import vote_planning
from critic.thresholds.comparison import COLUMNS, ComparedCritic, compare_critics
from critic.thresholds.labelled_scores import load_labelled_scores
from critic.thresholds.slices import DIMENSIONS, Slice, composition, slices
from critic.training.retraining import (
    RetrainingStatus,
    TrainedCritic,
    history,
    status,
)
from critic.training.train import Readiness, readiness
from db.labelling.labels import majority_labels
from db.schema import AnswerKey, Release, Run, Score
from db.store import runs
from db.store.releases import ReleaseEstimate
from db.store.results import UNDEFINED, Estimate, from_json, title
from db.store.session import Store
from regions.errors import InvalidError

_TRIPLES_EACH_SIDE = 4
"""Triples shown above and below the threshold."""

_RESAMPLES, _COMPARISON_RESAMPLES = 500, 200


@dataclass(frozen=True, slots=True)
class CriticSummary:
    """A trained critic in the page's list."""

    name: str
    kind: str
    simulated: bool
    average_precision: Estimate
    acceptance_rate: float | None
    labelled_triples: int | None
    test_triples: int | None
    test_images: int


@dataclass(frozen=True, slots=True)
class ReleaseSummary:
    """A release in the page's list."""

    name: str
    critic: str
    threshold: float
    simulated: bool
    kept: int
    note: str
    precision: Estimate


@dataclass(frozen=True, slots=True)
class LabelStatus:
    """Whether there are enough labels to train on, of people and with simulated annotators."""

    people: Readiness
    simulated: Readiness


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that the page shows at first; lists are newest first, the history oldest first."""

    labels: LabelStatus | None
    """None where there is a critic."""
    critics: list[CriticSummary]
    releases: list[ReleaseSummary]
    retraining: RetrainingStatus | None
    history: list[TrainedCritic]
    can_simulate: bool
    """Whether simulated annotators can vote: the project has an answer key."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A value, such as the name of a column, and its title."""

    value: str
    title: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Critics on the same test triples: the columns of a table, and its rows."""

    columns: list[Choice]
    rows: list[ComparedCritic]


@dataclass(frozen=True, slots=True)
class CurveData:
    """A critic's threshold curve and calibration, and how many triples each threshold keeps."""

    curve: CurveTable
    kept: list[int]
    """Of all scored triples, at each hundredth."""
    scored_triples: int
    calibration: list[CalibrationBin]
    dimensions: list[Choice]


@dataclass(frozen=True, slots=True)
class ThresholdMetrics:
    """Precision, recall and F1 of accepting at a threshold, on test images."""

    threshold: float
    precision: Estimate
    recall: Estimate
    f1: Estimate
    kept_share: float


@dataclass(frozen=True, slots=True)
class ScoredTriple:
    """A triple near the threshold, with its votes so far."""

    triple_id: int
    score: float
    is_kept: bool
    accepts: int
    votes: int


@dataclass(frozen=True, slots=True)
class LabelingOption:
    """What labelling for a purpose would bring."""

    forecast: vote_planning.LabelingForecast
    width_after: float | None
    """Expected width of precision's interval after the requested number of labels."""


@dataclass(frozen=True, slots=True)
class LabelingOptions:
    """What labelling would bring, by purpose."""

    estimate: LabelingOption
    guarantee: LabelingOption


def overview(store: Store) -> Overview:
    """Critics and releases, or whether there are enough labels to train a first critic."""
    with store.write() as session:  # new images are assigned to the split
        query = select(Run).where(Run.kind == "critic", Run.status == "done")
        critics = [_summary(run) for run in session.scalars(query.order_by(Run.id.desc()))]
        labels = None
        if not critics:
            labels = LabelStatus(readiness(session), readiness(session, simulated=True))
        return Overview(
            labels=labels,
            critics=critics,
            releases=releases(session),
            retraining=status(session),
            history=history(session),
            can_simulate=session.scalar(select(AnswerKey.triple_id).limit(1)) is not None,
        )


def _summary(run: Run) -> CriticSummary:
    results = from_json(CriticResults, run.results)
    return CriticSummary(
        run.name,
        run.settings.get("kind", "baseline"),
        run.simulated,
        results.average_precision,
        results.acceptance_rate,
        results.labelled_triples,
        results.test_triples,
        results.test_images,
    )


def curve(store: Store, run_name: str) -> CurveData:
    """A critic's threshold curve and calibration, and how many triples each threshold keeps."""
    with store.read() as session:
        run = runs.newest(session, "critic", run_name)
        results = from_json(CriticResults, run.results)
        # The first release did not store compositions.
        by_dimension: Composition = results.composition or composition(session, run.id)
    by_value = next(iter(by_dimension.values()), {})
    kept = [sum(column) for column in zip(*by_value.values(), strict=True)] or [0] * 101
    return CurveData(results.curve, kept, kept[0], results.calibration, _choices(DIMENSIONS))


def _choices(names: Sequence[str]) -> list[Choice]:
    return [Choice(name, title(name)) for name in names]


def metrics_at_thresholds(
    store: Store, run_name: str | None, threshold: float | None
) -> list[ThresholdMetrics]:
    """Metrics of a run (None: the newest) at one threshold, or at each tenth."""
    with store.read() as session:
        run = runs.newest(session, "critic", run_name)
        table = from_json(CriticResults, run.results).curve
    if threshold is not None:
        return [_metrics_at(table, check_threshold(threshold))]
    return [_metrics_at(table, step / 10) for step in range(11)]


def _metrics_at(table: CurveTable, threshold: float) -> ThresholdMetrics:
    i = next((i for i, t in enumerate(table.threshold) if t >= threshold), None)
    if i is None:
        return ThresholdMetrics(threshold, UNDEFINED, UNDEFINED, UNDEFINED, 0.0)
    precision, recall, f1 = (
        Estimate(band.value[i], band.low[i], band.high[i])
        for band in (table.precision, table.recall, table.f1)
    )
    return ThresholdMetrics(threshold, precision, recall, f1, table.kept_share[i])


def slices_at(store: Store, run_name: str | None, threshold: float, dimension: str) -> list[Slice]:
    """The effect of a threshold on each value of a dimension; InvalidError for an unknown one."""
    name = dimension.replace(" ", "_").replace("-", "_")
    if name not in DIMENSIONS:
        raise InvalidError(
            f"no dimension {dimension!r}", hint=f"use one of {', '.join(DIMENSIONS)}"
        )
    check_threshold(threshold)
    with store.read() as session:
        run = runs.newest(session, "critic", run_name)
        tested = load_labelled_scores(session, run, "test").random_subset()
        return slices(session, run, tested, threshold, name, resamples=_RESAMPLES)


def compare(store: Store) -> Comparison:
    """All critics on the same test triples."""
    rows = compare_critics(store, [], resamples=_COMPARISON_RESAMPLES)
    return Comparison(_choices(COLUMNS), rows)


def labeling_options(store: Store, run_name: str, threshold: float, size: int) -> LabelingOptions:
    """What `size` labels of triples at or above a threshold would bring, by purpose."""
    with store.read() as session:
        run = runs.newest(session, "critic", run_name)
        options = []
        for purpose in ("estimate", "guarantee"):
            forecast = vote_planning.forecast(session, run, threshold, purpose)
            after = forecast.width_after(min(size, forecast.available))
            options.append(LabelingOption(forecast, after))
    return LabelingOptions(*options)


def triples_near(session: Session, run_name: str, threshold: float) -> list[ScoredTriple]:
    """The triples just above and just below a threshold, highest score first."""
    run = runs.newest(session, "critic", run_name)
    scored = select(Score.triple_id, Score.value).where(Score.run_id == run.id)
    above = session.execute(
        scored.where(Score.value >= threshold)
        .order_by(Score.value, Score.triple_id)
        .limit(_TRIPLES_EACH_SIDE)
    ).all()
    below = session.execute(
        scored.where(Score.value < threshold)
        .order_by(Score.value.desc(), Score.triple_id)
        .limit(_TRIPLES_EACH_SIDE)
    ).all()
    rows = [*reversed(above), *below]
    labels = majority_labels(
        session, simulated=run.simulated, triple_ids=[triple_id for triple_id, _ in rows]
    )
    return [
        ScoredTriple(
            triple_id,
            score,
            score >= threshold,
            labels[triple_id].accepts if triple_id in labels else 0,
            labels[triple_id].votes if triple_id in labels else 0,
        )
        for triple_id, score in rows
    ]


def releases(session: Session) -> list[ReleaseSummary]:
    """Every release, newest first."""
    query = select(Release).options(joinedload(Release.run)).order_by(Release.id.desc())
    return [
        ReleaseSummary(
            release.name,
            release.run.name,
            release.threshold,
            release.simulated,
            release.kept,
            release.note,
            from_json(ReleaseEstimate, release.estimate).precision,
        )
        for release in session.scalars(query)
    ]
