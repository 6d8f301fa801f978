"""Adjudication: a researcher decides triples that annotators disagree on or have flagged.

The names of those who voted are hidden until the decision, so that they cannot influence it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.orm import Session

from annotator.labelling.payloads import TriplePayload, triple_payloads
from db.schema import (
    Adjudication,
    Decision,
    Flag,
    Gold,
    Person,
    Reason,
    Run,
    StoredLabel,
    Triple,
    Vote,
)
from db.store import queries
from db.store.clock import now
from regions.errors import ConflictError, InvalidError


@dataclass(frozen=True, slots=True)
class AnonymousVote:
    """A vote without the name of the person."""

    id: int
    decision: Decision
    reasons: Sequence[Reason]
    duration_ms: int | None


class PendingTriple(TriplePayload):
    """A triple to adjudicate, with its votes and the notes of its open flags."""

    votes: list[AnonymousVote]
    flags: list[str]


@dataclass(frozen=True, slots=True)
class PendingTriples:
    """The first triples to adjudicate, and how many there are in total (`waiting`)."""

    waiting: int
    triples: list[PendingTriple]


def list_pending(session: Session, *, simulated: bool, limit: int) -> PendingTriples:
    """Triples to adjudicate: flagged ones first, then the most uncertain.

    By the newest label run with these votes, those whose probability is nearest to 0.5 come first,
    at the same distance those with the widest interval; triples without a label, as on a tie, have
    0.5. Without a label run the share of votes takes the place of the probability, and fewer votes
    that of a wider interval.
    """
    accepts = func.sum(case((Vote.decision == "accept", 1), else_=0))
    rejects = func.sum(case((Vote.decision == "reject", 1), else_=0))
    columns = Vote.triple_id, accepts.label("accepts"), rejects.label("rejects")
    votes = queries.standing_votes(*columns, simulated=simulated)
    counts = votes.group_by(Vote.triple_id).subquery()
    flags = (
        select(Flag.triple_id, func.count().label("flags"))
        .where(Flag.resolved.is_(None))
        .group_by(Flag.triple_id)
        .subquery()
    )
    labels = (
        select(StoredLabel)
        .where(StoredLabel.run_id == _newest_label_run(session, simulated=simulated))
        .subquery()
    )
    share = counts.c.accepts * 1.0 / func.nullif(counts.c.accepts + counts.c.rejects, 0)
    adjudicated = select(Adjudication.triple_id).where(Adjudication.withdrawn.is_(None))
    query = (
        select(Triple.id)
        .outerjoin(counts, counts.c.triple_id == Triple.id)
        .outerjoin(flags, flags.c.triple_id == Triple.id)
        .where(or_(flags.c.flags > 0, (counts.c.accepts > 0) & (counts.c.rejects > 0)))
        .where(or_(Triple.id.not_in(adjudicated), flags.c.flags > 0))
        .where(or_(Triple.id.not_in(select(Gold.triple_id)), flags.c.flags > 0))
    )
    query = query.outerjoin(labels, labels.c.triple_id == Triple.id)
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    ordered = query.order_by(
        func.coalesce(flags.c.flags, 0).desc(),
        func.abs(func.coalesce(labels.c.accept, share, 0.5) - 0.5),
        func.coalesce(labels.c.high - labels.c.low, 1.0).desc(),
        func.coalesce(counts.c.accepts + counts.c.rejects, 0),
        Triple.id,
    )
    ids = session.scalars(ordered.limit(limit)).all()
    return PendingTriples(total, _pending_triples(session, ids, simulated=simulated))


def adjudicate(
    session: Session,
    triple_id: int,
    person_id: int,
    *,
    decision: Decision,
    reasons: Sequence[Reason] = (),
    note: str = "",
) -> dict[int, str]:
    """Decide a triple and resolve its flags; returns the names of those who voted, by vote id.

    An earlier decision is kept as withdrawn.
    """
    if decision == "skip" or (reasons and decision != "reject"):
        raise InvalidError("decide accept or reject; only a rejection has reasons")
    queries.by_id(session, Triple, triple_id)
    _withdraw(session, triple_id)
    session.add(
        Adjudication(
            triple_id=triple_id,
            person_id=person_id,
            decision=decision,
            reasons=list(reasons),
            note=note.strip()[:2000],
            created=now(),
        )
    )
    session.execute(
        update(Flag)
        .where(Flag.triple_id == triple_id, Flag.resolved.is_(None))
        .values(resolved=now())
    )
    session.flush()
    return voter_names(session, triple_id)


def withdraw_adjudication(session: Session, triple_id: int) -> None:
    """Withdraw the decision about a triple; ConflictError if there is none."""
    if not _withdraw(session, triple_id):
        raise ConflictError("this triple has no decision to withdraw")


def voter_names(session: Session, triple_id: int) -> dict[int, str]:
    """The names of those who voted on an adjudicated triple, by vote id."""
    adjudicated = select(Adjudication.id).where(
        Adjudication.triple_id == triple_id, Adjudication.withdrawn.is_(None)
    )
    if session.scalar(adjudicated) is None:
        raise ConflictError("names are hidden until the triple is adjudicated")
    rows = session.execute(
        select(Vote.id, Person.name)
        .join(Person, Person.id == Vote.person_id)
        .where(Vote.triple_id == triple_id, Vote.withdrawn.is_(None))
    )
    return {row[0]: row[1] for row in rows}


def _newest_label_run(session: Session, *, simulated: bool) -> int | None:
    """The newest finished label run that counts simulated votes, or does not."""
    return session.scalar(
        select(func.max(Run.id)).where(
            Run.kind == "labels", Run.status == "done", Run.simulated == simulated
        )
    )


def _withdraw(session: Session, triple_id: int) -> bool:
    result = session.execute(
        update(Adjudication)
        .where(Adjudication.triple_id == triple_id, Adjudication.withdrawn.is_(None))
        .values(withdrawn=now())
    )
    return bool(result.rowcount)  # type: ignore[attr-defined]


def _pending_triples(
    session: Session, ids: Sequence[int], *, simulated: bool
) -> list[PendingTriple]:
    payloads = triple_payloads(session, ids)
    columns = Vote.triple_id, Vote.id, Vote.decision, Vote.reasons, Vote.duration_ms
    query = (
        queries.standing_votes(*columns, simulated=simulated)
        .where(Vote.triple_id.in_(ids), Vote.decision != "skip")
        .order_by(Vote.key)  # random: the order must not identify anyone
    )
    votes: defaultdict[int, list[AnonymousVote]] = defaultdict(list)
    for triple_id, vote_id, decision, reasons, duration_ms in session.execute(query):
        votes[triple_id].append(AnonymousVote(vote_id, decision, reasons, duration_ms))
    flags: defaultdict[int, list[str]] = defaultdict(list)
    open_flags = select(Flag).where(Flag.triple_id.in_(ids), Flag.resolved.is_(None))
    for flag in session.scalars(open_flags.order_by(Flag.id)):
        flags[flag.triple_id].append(flag.note)
    return [{**payloads[id_], "votes": votes[id_], "flags": flags[id_]} for id_ in ids]
