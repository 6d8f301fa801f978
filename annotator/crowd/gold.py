"""How well a person labels: gold, the qualification round, pauses.

Gold are triples whose right judgement is known. Some teach: a qualification round asks them first
and says what was right. The rest hides among other triples, at the rate of the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, case, delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from annotator.crowd.progress import get_batch
from db.labelling.batches import add_gold
from db.schema import (
    Batch,
    BatchItem,
    Decision,
    Gold,
    Lease,
    Pause,
    Person,
    Reason,
    Triple,
    Vote,
)
from db.store.clock import now
from regions.errors import InvalidError, NotFoundError

MIN_HIDDEN_GOLD = 5
"""Hidden gold judged before the bar counts: fewer say nothing."""

ACCURACY_WINDOW = 20
"""The bar is held against so many last ones."""

_PAUSED = text(
    "SELECT reason FROM pauses WHERE person_id = :person AND batch_id = :batch AND lifted IS NULL"
)
# Judgements of gold since the last pause was lifted, the newest first.
_JUDGED = text("""
    SELECT votes.decision = gold.decision AS was_right, gold.is_training_item AS is_training_item
    FROM votes JOIN gold ON gold.triple_id = votes.triple_id
    WHERE votes.person_id = :person AND votes.batch_id = :batch AND votes.withdrawn IS NULL
      AND votes.decision <> 'skip' AND votes.created > COALESCE(
        (SELECT MAX(lifted) FROM pauses WHERE person_id = :person AND batch_id = :batch), 0)
    ORDER BY votes.id DESC
""")
_GOLD = text("SELECT decision, reasons, note, is_training_item FROM gold WHERE triple_id = :triple")


@dataclass(frozen=True, slots=True)
class GoldAccuracy:
    """A share of right judgements with Wilson's 95 % interval."""

    correct: int
    judged: int

    @property
    def share(self) -> float | None:
        """Right ones among those judged; None where nothing was."""
        return self.correct / self.judged if self.judged else None

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end, 0 to 1."""
        from scipy.stats import binomtest

        if not self.judged:
            return 0.0, 1.0
        found = binomtest(self.correct, self.judged).proportion_ci(method="wilson")
        return float(found.low), float(found.high)


def pause_reason(connection: Connection, person_id: int, batch_id: int) -> str | None:
    """Why a person may not go on with a batch; None if they may."""
    reason: str | None = connection.execute(
        _PAUSED, {"person": person_id, "batch": batch_id}
    ).scalar()
    return reason


def training_feedback(
    connection: Connection, triple_id: int, decision: Decision
) -> dict[str, Any] | None:
    """What a qualification round says to a judgement; None for triples that do not teach."""
    gold = connection.execute(_GOLD, {"triple": triple_id}).first()
    if gold is None or not gold.is_training_item or decision == "skip":
        return None
    return {"right": decision == gold.decision, "decision": gold.decision, "note": gold.note}


def enforce_accuracy(
    connection: Connection,
    person_id: int,
    batch_id: int,
    *,
    min_gold_accuracy: float,
    qualification_items: int,
) -> None:
    """Pause a person whose accuracy has fallen below the bar, after a judgement of gold."""
    who = {"person": person_id, "batch": batch_id}
    rows = connection.execute(_JUDGED, who).all()
    round_ = [bool(row.was_right) for row in rows if row.is_training_item]
    hidden = [bool(row.was_right) for row in rows if not row.is_training_item][:ACCURACY_WINDOW]
    if (
        round_
        and not hidden
        and len(round_) >= qualification_items
        and sum(round_) < min_gold_accuracy * len(round_)
    ):
        what = "the qualification round"
        judged = round_
    elif len(hidden) >= MIN_HIDDEN_GOLD and sum(hidden) < min_gold_accuracy * len(hidden):
        what = "triples whose answer is known"
        judged = hidden
    else:
        return
    reason = (
        f"{sum(judged)} of {len(judged)} judgements in {what} agree with the guidelines; "
        f"{min_gold_accuracy:.0%} are asked for. A researcher can let you go on."
    )
    pause(connection, person_id, batch_id, reason)


def pause(connection: Connection, person_id: int, batch_id: int, reason: str) -> None:
    """Stop a person, unless they are stopped already, and give their leases back."""
    if pause_reason(connection, person_id, batch_id) is not None:
        return
    connection.execute(
        insert(Pause).values(person_id=person_id, batch_id=batch_id, reason=reason, created=now())
    )
    mine = Lease.batch_id == batch_id, Lease.person_id == person_id
    places = connection.execute(select(Lease.position).where(*mine)).scalars().all()
    connection.execute(delete(Lease).where(*mine))
    connection.execute(
        update(BatchItem)
        .where(BatchItem.batch_id == batch_id, BatchItem.position.in_(places))
        .where(BatchItem.votes_required > 0)
        .values(slots_used=BatchItem.slots_used - 1)
    )


def pause_in_batch(session: Session, person_id: int, batch: str, reason: str) -> None:
    """Stop a person in a batch of this name, as a researcher does."""
    if session.get(Person, person_id) is None:
        raise NotFoundError("no such person", where=str(person_id))
    pause(session.connection(), person_id, get_batch(session, batch).id, reason)


def lift_pause(session: Session, pause_id: int, by: int) -> None:
    """Let a person go on; what they judged before no longer counts against them."""
    done = session.execute(
        update(Pause)
        .where(Pause.id == pause_id, Pause.lifted.is_(None))
        .values(lifted=now(), lifted_by=by)
    )
    if not done.rowcount:  # type: ignore[attr-defined]
        raise NotFoundError("no such pause, or it was lifted already", where=str(pause_id))


def set_gold(
    session: Session,
    triple_id: int,
    decision: Decision,
    *,
    reasons: Sequence[Reason] = (),
    note: str = "",
    is_training_item: bool = False,
    author: int | None = None,
) -> None:
    """State what is right of a triple; stating it anew replaces the old statement."""
    if session.get(Triple, triple_id) is None:
        raise NotFoundError("no such triple", where=str(triple_id))
    if decision == "skip":
        raise InvalidError("gold is accepted or rejected", where=str(triple_id))
    session.merge(
        Gold(
            triple_id=triple_id,
            decision=decision,
            reasons=list(reasons),
            note=note,
            is_training_item=is_training_item,
            author_id=author,
            created=now(),
        )
    )
    session.flush()
    watched = (Batch.gold_rate > 0) | (Batch.qualification_items > 0)
    for batch in session.scalars(select(Batch).where(Batch.open, watched)).all():
        add_gold(session, batch)


def gold_accuracies(session: Session, batch_id: int | None = None) -> dict[int, GoldAccuracy]:
    """Each person's accuracy on gold, by id."""
    right = func.sum(case((Vote.decision == Gold.decision, 1), else_=0))
    query = (
        select(Vote.person_id, right, func.count())
        .join(Gold, Gold.triple_id == Vote.triple_id)
        .where(Vote.withdrawn.is_(None), Vote.decision != "skip")
        .group_by(Vote.person_id)
    )
    if batch_id is not None:
        query = query.where(Vote.batch_id == batch_id)
    return {person: GoldAccuracy(int(n), judged) for person, n, judged in session.execute(query)}


def list_pauses(session: Session) -> list[dict[str, Any]]:
    """Who may not go on with what, and why."""
    query = (
        select(Pause, Person.name, Batch.name)
        .join(Person, Person.id == Pause.person_id)
        .join(Batch, Batch.id == Pause.batch_id)
        .where(Pause.lifted.is_(None))
        .order_by(Pause.id)
    )
    return [
        {
            "id": found.id,
            "person": person,
            "batch": batch,
            "reason": found.reason,
            "created": found.created,
        }
        for found, person, batch in session.execute(query)
    ]
