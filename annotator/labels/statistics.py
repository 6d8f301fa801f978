"""How a project goes: progress, pace, agreement, annotators, and what is left to do and to pay."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.crowd import gold as quality
from annotator.crowd.progress import get_batch
from annotator.labels import agreement
from db.labelling.labels import majority_labels
from db.schema import Batch, BatchItem, Decision, Flag, Pause, Person, Reason, Vote
from regions.errors import ConflictError

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS


@dataclass(frozen=True, slots=True)
class _Cast:
    triple: int
    person: int
    decision: Decision
    reasons: list[Reason]
    duration_ms: int | None
    created: int


def list_batches(session: Session) -> list[dict[str, Any]]:
    """Every batch, the newest first: how many votes it wants, and how many it has."""
    wants = (
        select(
            BatchItem.batch_id,
            func.count().label("triples"),
            func.sum(BatchItem.votes_required).label("votes_required"),
        )
        .where(BatchItem.votes_required > 0)
        .group_by(BatchItem.batch_id)
        .subquery()
    )
    votes = (
        select(Vote.batch_id, func.count().label("votes"))
        .join(
            BatchItem,
            (BatchItem.batch_id == Vote.batch_id) & (BatchItem.triple_id == Vote.triple_id),
        )
        .where(Vote.withdrawn.is_(None), Vote.decision != "skip", BatchItem.votes_required > 0)
        .group_by(Vote.batch_id)
        .subquery()
    )
    query = (
        select(Batch, wants.c.triples, wants.c.votes_required, votes.c.votes)
        .outerjoin(wants, wants.c.batch_id == Batch.id)
        .outerjoin(votes, votes.c.batch_id == Batch.id)
        .order_by(Batch.id.desc())
    )
    fields = (
        "name",
        "open",
        "ordering",
        "random_share",
        "gold_rate",
        "qualification_items",
        "min_gold_accuracy",
        "fast_ms",
    )
    return [
        {field: getattr(batch, field) for field in fields}
        | {"votes_each": batch.votes_required}
        | {"triples": triples or 0, "votes_required": int(required or 0), "votes": count or 0}
        for batch, triples, required, count in session.execute(query)
    ]


def project_statistics(session: Session, batch: str | None, *, simulated: bool) -> dict[str, Any]:
    """One batch, or all votes: everything that the project page draws."""
    chosen = get_batch(session, batch) if batch is not None else None
    votes = _votes(session, chosen.id if chosen else None, simulated=simulated)
    judged = [vote for vote in votes if vote.decision != "skip"]
    paces = [vote.duration_ms for vote in judged if vote.duration_ms is not None]
    mine = [b for b in list_batches(session) if batch is None or b["name"] == batch]
    left = sum(max(0, b["votes_required"] - b["votes"]) for b in mine if b["open"])
    pace = median(paces) if paces else None
    return {
        "votes": len(judged),
        "skips": len(votes) - len(judged),
        "votes_required": sum(b["votes_required"] for b in mine),
        "acceptance": _share(v.decision == "accept" for v in judged),
        "per_hour": _per_hour(judged),
        "reasons": Counter(reason for vote in judged for reason in vote.reasons),
        "agreement": agreement.agreement_summary(_plain(judged)),
        "agreement_over_time": _agreement_over_time(judged),
        "annotators": annotator_statistics(session, chosen, votes, simulated=simulated),
        "flags": session.scalar(select(func.count()).where(Flag.resolved.is_(None))) or 0,
        "left": {
            "votes": left,
            "pace_ms": pace,
            "hours": left * pace / _HOUR_MS if pace is not None else None,
        },
    }


def batch_agreement(
    session: Session, batch: str | None, *, simulated: bool
) -> list[dict[str, Any]]:
    """Every coefficient of a batch's votes, or of all; UserError where nobody shares a triple."""
    batch_id = get_batch(session, batch).id if batch is not None else None
    votes = _votes(session, batch_id, simulated=simulated)
    rows = agreement.agreement_summary(_plain([v for v in votes if v.decision != "skip"]))
    if not rows:
        raise ConflictError(
            "no triple has votes of two people", hint="label more, or see --simulated"
        )
    return rows


def set_batch_open(session: Session, name: str, *, is_open: bool) -> None:
    """Give a batch out, or no longer; leases that stand may still become votes."""
    get_batch(session, name).open = is_open


def annotator_statistics(
    session: Session, batch: Batch | None, votes: Sequence[_Cast], *, simulated: bool
) -> list[dict[str, Any]]:
    """A row for each person who voted; the ones with most votes first."""
    names = {p.id: p for p in session.scalars(select(Person))}
    gold = quality.gold_accuracies(session, batch.id if batch else None)
    majority = majority_labels(session, simulated=simulated)
    paused = dict[int, str]()
    for found in session.scalars(select(Pause).where(Pause.lifted.is_(None))):
        if batch is None or found.batch_id == batch.id:
            paused[found.person_id] = found.reason
    fast_ms = batch.fast_ms if batch else Batch.fast_ms.default.arg
    by_person: defaultdict[int, list[_Cast]] = defaultdict(list)
    for vote in votes:
        by_person[vote.person].append(vote)
    rows = []
    for person, cast in by_person.items():
        judged = [v for v in cast if v.decision != "skip"]
        paces = [v.duration_ms for v in judged if v.duration_ms is not None]
        # Where others judged too: against the majority, in which their own vote has a part.
        shared = [v for v in judged if (m := majority.get(v.triple)) and m.votes > 1]
        accuracy = gold.get(person, quality.GoldAccuracy(0, 0))
        rows.append(
            {
                "id": person,
                "name": names[person].name,
                "simulated": names[person].simulated,
                "votes": len(judged),
                "skips": len(cast) - len(judged),
                "acceptance": _share(v.decision == "accept" for v in judged),
                "with_majority": _share(
                    (v.decision == "accept") == majority[v.triple].accept for v in shared
                ),
                "gold": accuracy.share,
                "gold_judged": accuracy.judged,
                "gold_interval": accuracy.interval,
                "pace_ms": median(paces) if paces else None,
                "too_fast": _share(p < fast_ms for p in paces),
                "paused": paused.get(person),
            }
        )
    return sorted(rows, key=lambda row: (-row["votes"], row["name"]))


def _agreement_over_time(votes: Sequence[_Cast]) -> list[dict[str, Any]]:
    """Krippendorff's alpha of the triples whose last vote fell on a day, day by day."""
    last: dict[int, int] = {}
    for vote in votes:
        last[vote.triple] = max(last.get(vote.triple, 0), vote.created // _DAY_MS)
    days: defaultdict[int, list[tuple[int, int, bool]]] = defaultdict(list)
    for vote in votes:
        days[last[vote.triple]].append((vote.triple, vote.person, vote.decision == "accept"))
    found = ((day, agreement.alpha_or_none(cast)) for day, cast in sorted(days.items()))
    return [{"day": day * _DAY_MS, "alpha": alpha} for day, alpha in found if alpha is not None]


def _plain(votes: Sequence[_Cast]) -> list[tuple[int, int, bool]]:
    return [(vote.triple, vote.person, vote.decision == "accept") for vote in votes]


def _votes(session: Session, batch_id: int | None, *, simulated: bool) -> list[_Cast]:
    """Standing votes on triples that want them: gold would count the same judgement too often."""
    columns = (
        *(Vote.triple_id, Vote.person_id, Vote.decision),
        *(Vote.reasons, Vote.duration_ms, Vote.created),
    )
    gold = select(BatchItem.triple_id).where(BatchItem.votes_required == 0)
    query = select(*columns).where(Vote.withdrawn.is_(None), Vote.triple_id.not_in(gold))
    if batch_id is not None:
        query = query.where(Vote.batch_id == batch_id)
    if not simulated:
        query = query.join(Person, Person.id == Vote.person_id).where(~Person.simulated)
    return [_Cast(*row) for row in session.execute(query)]


def _per_hour(votes: Sequence[_Cast]) -> list[dict[str, int]]:
    counts = Counter(vote.created // _HOUR_MS for vote in votes)
    return [{"hour": hour * _HOUR_MS, "votes": counts[hour]} for hour in sorted(counts)]


def _share(answers: Any) -> float | None:  # noqa: ANN401 - booleans, in whatever order
    found = list(answers)
    return sum(found) / len(found) if found else None
