"""Invariants of a store that labelling must never break; see `annotator.labelling.queue`.

Each is a query for the records that violate it and, where that takes no decision, the statement
that restores it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from db.store.session import Store

_SLOTS = """
    SELECT COUNT(*) FROM votes
    WHERE votes.batch_id = item.batch_id AND votes.triple_id = item.triple_id
      AND votes.withdrawn IS NULL AND votes.decision <> 'skip'
"""
_LEASES = """
    SELECT COUNT(*) FROM leases
    WHERE leases.batch_id = item.batch_id AND leases.position = item.position
"""
_VOTED_LEASES = """
    FROM leases WHERE EXISTS (
        SELECT 1 FROM batch_items AS item JOIN votes ON votes.triple_id = item.triple_id
        WHERE item.batch_id = leases.batch_id AND item.position = leases.position
          AND votes.batch_id = leases.batch_id AND votes.person_id = leases.person_id
          AND votes.withdrawn IS NULL)
"""
_WRONG_SLOTS = f"""
    FROM batch_items AS item
    WHERE votes_required > 0 AND slots_used <> ({_SLOTS}) + ({_LEASES})
"""


@dataclass(frozen=True, slots=True)
class Invariant:
    """What must not exist, a query that counts it, and the statement that removes it."""

    name: str
    count: str
    repair: str | None = None


INVARIANTS: Sequence[Invariant] = (
    Invariant(
        "leases beside votes",
        f"SELECT COUNT(*) {_VOTED_LEASES}",
        f"DELETE {_VOTED_LEASES}",
    ),
    Invariant(
        "leases of paused people",
        "SELECT COUNT(*) FROM leases JOIN pauses ON pauses.batch_id = leases.batch_id"
        " AND pauses.person_id = leases.person_id WHERE pauses.lifted IS NULL",
        "DELETE FROM leases WHERE EXISTS (SELECT 1 FROM pauses WHERE pauses.lifted IS NULL"
        " AND pauses.batch_id = leases.batch_id AND pauses.person_id = leases.person_id)",
    ),
    Invariant(
        "items with too many votes",
        "SELECT COUNT(*) FROM batch_items AS item"  # noqa: S608 - constants only
        f" WHERE votes_required > 0 AND ({_SLOTS}) > votes_required",
    ),
    # Last: deleted leases free their slots here.
    Invariant(
        "items with a wrong number of slots used",
        f"SELECT COUNT(*) {_WRONG_SLOTS}",
        f"UPDATE batch_items AS item SET slots_used = ({_SLOTS}) + ({_LEASES})"  # noqa: S608 - constants only
        f" WHERE votes_required > 0 AND slots_used <> ({_SLOTS}) + ({_LEASES})"
        f" AND ({_SLOTS}) + ({_LEASES}) <= votes_required",
    ),
    Invariant(
        "slots on gold",
        "SELECT COUNT(*) FROM batch_items WHERE votes_required = 0 AND slots_used <> 0",
        "UPDATE batch_items SET slots_used = 0 WHERE votes_required = 0",
    ),
    Invariant(
        "votes outside their batch",
        "SELECT COUNT(*) FROM votes WHERE batch_id IS NOT NULL AND NOT EXISTS (SELECT 1"
        " FROM batch_items AS item WHERE item.batch_id = votes.batch_id"
        " AND item.triple_id = votes.triple_id)",
    ),
    Invariant(
        "corrections of standing votes",
        "SELECT COUNT(*) FROM votes JOIN votes AS replaced ON replaced.id = votes.replaces"
        " WHERE replaced.withdrawn IS NULL OR replaced.person_id <> votes.person_id"
        " OR replaced.triple_id <> votes.triple_id",
    ),
    Invariant(
        "workers over their study's quota",
        "SELECT COUNT(*) FROM (SELECT votes.person_id, votes.batch_id FROM votes"
        " JOIN study_sessions ON study_sessions.person_id = votes.person_id"
        " JOIN studies ON studies.id = study_sessions.study_id"
        " AND studies.batch_id = votes.batch_id"
        " WHERE votes.withdrawn IS NULL AND votes.decision <> 'skip'"
        " GROUP BY votes.person_id, votes.batch_id"
        " HAVING COUNT(DISTINCT votes.id) > (SELECT SUM(own.quota) FROM studies AS own"
        " JOIN study_sessions AS joined ON joined.study_id = own.id"
        " WHERE joined.person_id = votes.person_id AND own.batch_id = votes.batch_id)) AS over",
    ),
    Invariant(
        "standing votes that were sent back",
        "SELECT COUNT(*) FROM returned_votes JOIN votes ON votes.id = returned_votes.vote_id"
        " WHERE votes.withdrawn IS NULL",
    ),
    Invariant(
        "studies with more workers than places",
        "SELECT COUNT(*) FROM studies WHERE max_workers < (SELECT COUNT(*) FROM study_sessions"
        " WHERE study_sessions.study_id = studies.id)",
    ),
)
"""In the order of repair."""


@dataclass(frozen=True, slots=True)
class InvariantCheck:
    """How many records violate an invariant, and how many of them were repaired."""

    invariant: str
    violations: int
    repaired: int
    can_be_repaired: bool


def check(store: Store, *, repair: bool = False) -> list[InvariantCheck]:
    """Count the violations of every invariant in one transaction; with `repair`, restore them."""
    with store.write() as session:
        connection = session.connection()
        before = [_count(connection, invariant) for invariant in INVARIANTS]
        if repair:
            for invariant in INVARIANTS:
                if invariant.repair is not None:
                    connection.execute(text(invariant.repair))
        after = [_count(connection, invariant) for invariant in INVARIANTS] if repair else before
    return [
        InvariantCheck(invariant.name, n_before, max(0, n_before - n_after), bool(invariant.repair))
        for invariant, n_before, n_after in zip(INVARIANTS, before, after, strict=True)
    ]


def _count(connection: Connection, invariant: Invariant) -> int:
    return int(connection.execute(text(invariant.count)).scalar_one())
