"""The last word on triples about which people disagree, or which somebody flagged.

Names are hidden until a researcher has decided: whose vote it was must not sway them.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.orm import Session

from annotator.crowd.payloads import triple_payloads
from db.schema import Adjudication, Decision, Flag, Gold, Person, Reason, Triple, Vote
from db.store.clock import now
from regions.errors import ConflictError, InvalidError, NotFoundError


def list_pending(session: Session, *, simulated: bool, limit: int) -> dict[str, Any]:
    """Triples that wait for a decision, flagged ones first, then the most split; and how many."""
    accepts = func.sum(case((Vote.decision == "accept", 1), else_=0))
    rejects = func.sum(case((Vote.decision == "reject", 1), else_=0))
    votes = select(Vote.triple_id, accepts.label("accepts"), rejects.label("rejects")).where(
        Vote.withdrawn.is_(None)
    )
    if not simulated:
        votes = votes.join(Person, Person.id == Vote.person_id).where(~Person.simulated)
    cast = votes.group_by(Vote.triple_id).subquery()
    flags = (
        select(Flag.triple_id, func.count().label("flags"))
        .where(Flag.resolved.is_(None))
        .group_by(Flag.triple_id)
        .subquery()
    )
    split = case(
        (cast.c.accepts < cast.c.rejects, cast.c.accepts), else_=func.coalesce(cast.c.rejects, 0)
    )
    decided = select(Adjudication.triple_id).where(Adjudication.withdrawn.is_(None))
    query = (
        select(Triple.id)
        .outerjoin(cast, cast.c.triple_id == Triple.id)
        .outerjoin(flags, flags.c.triple_id == Triple.id)
        .where(or_(flags.c.flags > 0, (cast.c.accepts > 0) & (cast.c.rejects > 0)))
        .where(or_(Triple.id.not_in(decided), flags.c.flags > 0))
        .where(or_(Triple.id.not_in(select(Gold.triple_id)), flags.c.flags > 0))
    )
    count = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    urgent = query.order_by(func.coalesce(flags.c.flags, 0).desc(), split.desc(), Triple.id)
    ids = session.scalars(urgent.limit(limit)).all()
    return {"waiting": count, "triples": _seen(session, ids, simulated=simulated)}


def adjudicate(
    session: Session,
    triple_id: int,
    person_id: int,
    *,
    decision: Decision,
    reasons: Sequence[Reason] = (),
    note: str = "",
) -> dict[str, Any]:
    """The last word, and then whose votes there were. A word said before is withdrawn, and stays.

    It resolves the triple's flags.
    """
    if decision == "skip" or (reasons and decision != "reject"):
        raise InvalidError("a last word accepts or rejects, and only a rejection has reasons")
    if session.get(Triple, triple_id) is None:
        raise NotFoundError("no such triple", where=str(triple_id))
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
    return {"names": voter_names(session, triple_id)}


def withdraw_adjudication(session: Session, triple_id: int) -> None:
    """Take the last word back: the triple waits again, or its votes count again."""
    if not _withdraw(session, triple_id):
        raise ConflictError("there is no decision to take back")


def voter_names(session: Session, triple_id: int) -> dict[int, str]:
    """Whose votes a triple has, by vote; for triples that are decided only."""
    decided = select(Adjudication.id).where(
        Adjudication.triple_id == triple_id, Adjudication.withdrawn.is_(None)
    )
    if session.scalar(decided) is None:
        raise ConflictError("names are hidden until the triple is decided")
    rows = session.execute(
        select(Vote.id, Person.name)
        .join(Person, Person.id == Vote.person_id)
        .where(Vote.triple_id == triple_id, Vote.withdrawn.is_(None))
    )
    return {row[0]: row[1] for row in rows}


def _withdraw(session: Session, triple_id: int) -> bool:
    done = session.execute(
        update(Adjudication)
        .where(Adjudication.triple_id == triple_id, Adjudication.withdrawn.is_(None))
        .values(withdrawn=now())
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]


def _seen(session: Session, ids: Sequence[int], *, simulated: bool) -> list[dict[str, Any]]:
    items = triple_payloads(session, ids)
    query = (
        select(Vote.id, Vote.triple_id, Vote.decision, Vote.reasons, Vote.duration_ms)
        .join(Person, Person.id == Vote.person_id)
        .where(Vote.triple_id.in_(ids), Vote.withdrawn.is_(None), Vote.decision != "skip")
        .order_by(Vote.key)  # in no order that tells who
    )
    if not simulated:
        query = query.where(~Person.simulated)
    votes: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for id_, triple_id, decision, reasons, duration in session.execute(query):
        votes[triple_id].append(
            {"id": id_, "decision": decision, "reasons": reasons, "duration_ms": duration}
        )
    flags: defaultdict[int, list[str]] = defaultdict(list)
    open_flags = select(Flag).where(Flag.triple_id.in_(ids), Flag.resolved.is_(None))
    for flag in session.scalars(open_flags.order_by(Flag.id)):
        flags[flag.triple_id].append(flag.note)
    return [{**items[id_], "votes": votes[id_], "flags": flags[id_]} for id_ in ids]
