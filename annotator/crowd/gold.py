"""Quality control with gold: accuracy, the qualification round, pauses.

Gold are triples whose correct decision is known. Training items are shown first, as a qualification
round with feedback; hidden gold is mixed into a batch at its `gold_rate`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, case, delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from annotator.crowd.rates import Rate
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
from db.store import queries
from db.store.clock import now
from regions.errors import InvalidError, NotFoundError

MIN_HIDDEN_GOLD = 5
"""Hidden gold that a person must judge before the minimum accuracy applies."""

ACCURACY_WINDOW = 20
"""The minimum accuracy applies to a person's last judgements of hidden gold, this many."""

PAUSE_REASON = (
    "SELECT reason FROM pauses WHERE person_id = :person AND batch_id = :batch AND lifted IS NULL"
)
_PAUSE_REASON = text(PAUSE_REASON)
# Judgements of gold since the last pause was lifted, newest first.
_GOLD_VOTES = text("""
    SELECT votes.decision = gold.decision AS is_correct, gold.is_training_item AS is_training_item
    FROM votes JOIN gold ON gold.triple_id = votes.triple_id
    WHERE votes.person_id = :person AND votes.batch_id = :batch AND votes.withdrawn IS NULL
      AND votes.decision <> 'skip' AND votes.created > COALESCE(
        (SELECT MAX(lifted) FROM pauses WHERE person_id = :person AND batch_id = :batch), 0)
    ORDER BY votes.id DESC
""")
_GOLD = text("SELECT decision, reasons, note, is_training_item FROM gold WHERE triple_id = :triple")


@dataclass(frozen=True, slots=True)
class TrainingFeedback:
    """Whether a judgement of a training item was right, the correct decision, and why."""

    right: bool
    decision: Decision
    note: str


@dataclass(frozen=True, slots=True)
class PauseRow:
    """A pause that has not been lifted, with the names of its person and batch."""

    id: int
    person: str
    batch: str
    reason: str
    created: int


def pause_reason(connection: Connection, person_id: int, batch_id: int) -> str | None:
    """Why a person is paused in a batch; None if they are not."""
    reason: str | None = connection.execute(
        _PAUSE_REASON, {"person": person_id, "batch": batch_id}
    ).scalar()
    return reason


def training_feedback(
    connection: Connection, triple_id: int, decision: Decision
) -> TrainingFeedback | None:
    """Feedback on a judgement of a training item; None for other triples and for a skip."""
    gold = connection.execute(_GOLD, {"triple": triple_id}).first()
    if gold is None or not gold.is_training_item or decision == "skip":
        return None
    return TrainingFeedback(decision == gold.decision, gold.decision, gold.note)


def enforce_accuracy(
    connection: Connection,
    person_id: int,
    batch_id: int,
    *,
    min_gold_accuracy: float,
    qualification_items: int,
) -> None:
    """Pause a person whose accuracy on gold is below the minimum; call it after each judgement.

    Training items count at the end of the qualification round; hidden gold counts from
    `MIN_HIDDEN_GOLD` judgements on, over the last `ACCURACY_WINDOW`.
    """
    key = {"person": person_id, "batch": batch_id}
    rows = connection.execute(_GOLD_VOTES, key).all()
    training = [bool(row.is_correct) for row in rows if row.is_training_item]
    hidden = [bool(row.is_correct) for row in rows if not row.is_training_item][:ACCURACY_WINDOW]
    if (
        training
        and not hidden
        and len(training) >= qualification_items
        and sum(training) < min_gold_accuracy * len(training)
    ):
        where = "in the qualification round"
        results = training
    elif len(hidden) >= MIN_HIDDEN_GOLD and sum(hidden) < min_gold_accuracy * len(hidden):
        where = "on triples with a known answer"
        results = hidden
    else:
        return
    reason = (
        f"{sum(results)} of {len(results)} judgements {where} match the guidelines; "
        f"at least {min_gold_accuracy:.0%} is required."
    )
    pause(connection, person_id, batch_id, reason)


def pause(connection: Connection, person_id: int, batch_id: int, reason: str) -> None:
    """Pause a person in a batch and release their leases; no-op if they are paused already."""
    if pause_reason(connection, person_id, batch_id) is not None:
        return
    connection.execute(
        insert(Pause).values(person_id=person_id, batch_id=batch_id, reason=reason, created=now())
    )
    own_leases = Lease.batch_id == batch_id, Lease.person_id == person_id
    positions = connection.execute(select(Lease.position).where(*own_leases)).scalars().all()
    connection.execute(delete(Lease).where(*own_leases))
    connection.execute(
        update(BatchItem)
        .where(BatchItem.batch_id == batch_id, BatchItem.position.in_(positions))
        .where(BatchItem.votes_required > 0)
        .values(slots_used=BatchItem.slots_used - 1)
    )


def pause_in_batch(session: Session, person_id: int, batch: str, reason: str) -> None:
    """Pause a person in the batch of this name."""
    queries.by_id(session, Person, person_id)
    pause(session.connection(), person_id, queries.by_name(session, Batch, batch).id, reason)


def lift_pause(session: Session, pause_id: int, lifted_by: int) -> None:
    """Lift a pause; the person's earlier judgements of gold no longer count."""
    result = session.execute(
        update(Pause)
        .where(Pause.id == pause_id, Pause.lifted.is_(None))
        .values(lifted=now(), lifted_by=lifted_by)
    )
    if not result.rowcount:  # type: ignore[attr-defined]
        raise NotFoundError("no such pause, or it was already lifted", where=str(pause_id))


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
    """Set the correct decision of a triple, replacing an earlier one.

    Open batches that use gold get it at once.
    """
    queries.by_id(session, Triple, triple_id)
    if decision == "skip":
        raise InvalidError("gold must be accepted or rejected", where=str(triple_id))
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
    uses_gold = (Batch.gold_rate > 0) | (Batch.qualification_items > 0)
    for batch in session.scalars(select(Batch).where(Batch.open, uses_gold)).all():
        add_gold(session, batch)


def gold_accuracies(session: Session, batch_id: int | None = None) -> dict[int, Rate]:
    """The accuracy on gold of each person, by id."""
    correct = func.sum(case((Vote.decision == Gold.decision, 1), else_=0))
    query = (
        select(Vote.person_id, correct, func.count())
        .join(Gold, Gold.triple_id == Vote.triple_id)
        .where(Vote.withdrawn.is_(None), Vote.decision != "skip")
        .group_by(Vote.person_id)
    )
    if batch_id is not None:
        query = query.where(Vote.batch_id == batch_id)
    return {person: Rate.of(int(n), judged) for person, n, judged in session.execute(query)}


def list_pauses(session: Session) -> list[PauseRow]:
    """All pauses that have not been lifted, oldest first."""
    query = (
        select(Pause, Person.name, Batch.name)
        .join(Person, Person.id == Pause.person_id)
        .join(Batch, Batch.id == Pause.batch_id)
        .where(Pause.lifted.is_(None))
        .order_by(Pause.id)
    )
    return [
        PauseRow(row.id, person, batch, row.reason, row.created)
        for row, person, batch in session.execute(query)
    ]
