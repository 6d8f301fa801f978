"""Project statistics: progress, pace, agreement, annotators, remaining time, cost."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.crowd import gold
from annotator.crowd.batch_rows import list_batches
from annotator.crowd.rates import Rate
from annotator.statistics import agreement, costs, reliability
from annotator.statistics.agreement import AgreementRow
from annotator.statistics.costs import Cost
from annotator.statistics.reliability import ConfusionRow, Drift
from db.labelling.labels import Label, majority_labels
from db.schema import Batch, BatchItem, Decision, Flag, Pause, Person, Reason, Vote
from db.store import queries
from regions.errors import ConflictError

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS


@dataclass(frozen=True, slots=True)
class HourRow:
    """Votes in an hour, which starts at `hour` (Unix time in milliseconds)."""

    hour: int
    votes: int


@dataclass(frozen=True, slots=True)
class DayRow:
    """Krippendorff's alpha of a day, which starts at `day` (Unix time in milliseconds)."""

    day: int
    alpha: float


@dataclass(frozen=True, slots=True)
class Remaining:
    """Votes that open batches still require, the median time per vote, and the hours they take."""

    votes: int
    pace_ms: float | None
    hours: float | None


@dataclass(frozen=True, slots=True)
class AnnotatorRow:
    """One person's votes. Shares are 0 to 1, None where they are undefined."""

    id: int
    name: str
    simulated: bool
    votes: int
    skips: int
    acceptance: float | None
    with_majority: float | None
    """Share of votes that agree with the majority, on triples with two votes or more."""
    gold: float | None
    """Accuracy on gold."""
    gold_judged: int
    gold_interval: tuple[float, float]
    pace_ms: float | None
    """Median time per vote."""
    too_fast: float | None
    """Share of votes faster than the batch's `fast_ms`."""
    paused: str | None
    """Why the person is paused."""


@dataclass(frozen=True, slots=True)
class ProjectStatistics:
    """Statistics of one batch or of all votes; skips count only in `skips`."""

    votes: int
    skips: int
    votes_required: int
    acceptance: float | None
    per_hour: list[HourRow]
    reasons: Mapping[Reason, int]
    agreement: list[AgreementRow]
    agreement_over_time: list[DayRow]
    annotators: list[AnnotatorRow]
    flags: int
    """Open flags."""
    left: Remaining
    confusion: list[ConfusionRow]
    drift: list[Drift]
    cost: Cost


@dataclass(frozen=True, slots=True)
class _Vote:
    triple: int
    person: int
    decision: Decision
    reasons: list[Reason]
    duration_ms: int | None
    created: int


def project_statistics(
    session: Session, batch: str | None, *, simulated: bool
) -> ProjectStatistics:
    """Statistics of the batch of this name, or of all votes (None)."""
    chosen = queries.by_name(session, Batch, batch) if batch is not None else None
    votes = _fetch_votes(session, chosen.id if chosen else None, simulated=simulated)
    judged = [vote for vote in votes if vote.decision != "skip"]
    batches = [row for row in list_batches(session) if batch is None or row.name == batch]
    pace = _median_ms(judged)
    reliable = reliability.reliability(session, chosen.id if chosen else None, simulated=simulated)
    n_left = sum(max(0, row.votes_required - row.votes) for row in batches if row.open)
    return ProjectStatistics(
        votes=len(judged),
        skips=len(votes) - len(judged),
        votes_required=sum(row.votes_required for row in batches),
        acceptance=_share(vote.decision == "accept" for vote in judged),
        per_hour=_votes_per_hour(judged),
        reasons=Counter(reason for vote in judged for reason in vote.reasons),
        agreement=agreement.agreement_summary(_ratings(judged)),
        agreement_over_time=_agreement_by_day(judged),
        annotators=annotator_statistics(session, chosen, votes, simulated=simulated),
        flags=session.scalar(select(func.count()).where(Flag.resolved.is_(None))) or 0,
        left=Remaining(n_left, pace, n_left * pace / _HOUR_MS if pace is not None else None),
        confusion=reliable.confusion,
        drift=reliable.drift,
        cost=costs.annotation_cost(session, batches, pace, simulated=simulated),
    )


def batch_agreement(session: Session, batch: str | None, *, simulated: bool) -> list[AgreementRow]:
    """Agreement of a batch's votes, or of all; ConflictError if no triple has two votes."""
    batch_id = queries.by_name(session, Batch, batch).id if batch is not None else None
    votes = _fetch_votes(session, batch_id, simulated=simulated)
    rows = agreement.agreement_summary(_ratings([v for v in votes if v.decision != "skip"]))
    if not rows:
        raise ConflictError(
            "no triple has votes of two people", hint="label more, or use --simulated"
        )
    return rows


def annotator_statistics(
    session: Session, batch: Batch | None, votes: Sequence[_Vote], *, simulated: bool
) -> list[AnnotatorRow]:
    """A row for each person who voted, those with the most votes first."""
    people = {person.id: person for person in session.scalars(select(Person))}
    accuracies = gold.gold_accuracies(session, batch.id if batch else None)
    majority = majority_labels(session, simulated=simulated)
    pauses = {
        pause.person_id: pause.reason
        for pause in session.scalars(select(Pause).where(Pause.lifted.is_(None)))
        if batch is None or pause.batch_id == batch.id
    }
    fast_ms = batch.fast_ms if batch else Batch.fast_ms.default.arg
    by_person: defaultdict[int, list[_Vote]] = defaultdict(list)
    for vote in votes:
        by_person[vote.person].append(vote)
    rows = []
    for person_id, own_votes in by_person.items():
        judged = [vote for vote in own_votes if vote.decision != "skip"]
        accuracy = accuracies.get(person_id, Rate.of(0, 0))
        rows.append(
            AnnotatorRow(
                id=person_id,
                name=people[person_id].name,
                simulated=people[person_id].simulated,
                votes=len(judged),
                skips=len(own_votes) - len(judged),
                acceptance=_share(vote.decision == "accept" for vote in judged),
                with_majority=_majority_share(judged, majority),
                gold=accuracy.value,
                gold_judged=accuracy.judged,
                gold_interval=accuracy.interval,
                pace_ms=_median_ms(judged),
                too_fast=_share(ms < fast_ms for ms in _durations(judged)),
                paused=pauses.get(person_id),
            )
        )
    return sorted(rows, key=lambda row: (-row.votes, row.name))


def _majority_share(votes: Sequence[_Vote], majority: Mapping[int, Label]) -> float | None:
    """Share of votes that agree with the majority, which their own vote is part of."""
    pairs = [(vote, majority[vote.triple]) for vote in votes if vote.triple in majority]
    return _share(
        (vote.decision == "accept") == label.accept for vote, label in pairs if label.votes > 1
    )


def _agreement_by_day(votes: Sequence[_Vote]) -> list[DayRow]:
    """Krippendorff's alpha by day; a triple belongs to the day of its last vote."""
    last_day: dict[int, int] = {}
    for vote in votes:
        last_day[vote.triple] = max(last_day.get(vote.triple, 0), vote.created // _DAY_MS)
    by_day: defaultdict[int, list[_Vote]] = defaultdict(list)
    for vote in votes:
        by_day[last_day[vote.triple]].append(vote)
    alphas = {day: agreement.alpha_or_none(_ratings(by_day[day])) for day in sorted(by_day)}
    return [DayRow(day * _DAY_MS, alpha) for day, alpha in alphas.items() if alpha is not None]


def _ratings(votes: Sequence[_Vote]) -> list[tuple[int, int, bool]]:
    return [(vote.triple, vote.person, vote.decision == "accept") for vote in votes]


def _fetch_votes(session: Session, batch_id: int | None, *, simulated: bool) -> list[_Vote]:
    """Standing votes, without gold, which everyone judges."""
    columns = (
        *(Vote.triple_id, Vote.person_id, Vote.decision),
        *(Vote.reasons, Vote.duration_ms, Vote.created),
    )
    gold_items = select(BatchItem.triple_id).where(BatchItem.votes_required == 0)
    query = queries.standing_votes(*columns, simulated=simulated)
    query = query.where(Vote.triple_id.not_in(gold_items))
    if batch_id is not None:
        query = query.where(Vote.batch_id == batch_id)
    return [_Vote(*row) for row in session.execute(query)]


def _votes_per_hour(votes: Sequence[_Vote]) -> list[HourRow]:
    counts = Counter(vote.created // _HOUR_MS for vote in votes)
    return [HourRow(hour * _HOUR_MS, counts[hour]) for hour in sorted(counts)]


def _durations(votes: Sequence[_Vote]) -> list[int]:
    return [vote.duration_ms for vote in votes if vote.duration_ms is not None]


def _median_ms(votes: Sequence[_Vote]) -> float | None:
    durations = _durations(votes)
    return median(durations) if durations else None


def _share(values: Iterable[bool]) -> float | None:
    """The share of true values; None if there are none."""
    flags = list(values)
    return sum(flags) / len(flags) if flags else None
