"""Leases: items of a batch reserved for a person until they vote or the lease expires.

A lease on an item occupies one of its slots. Gold items require no votes and have no slots, so a
lease on gold occupies none. Every function runs in the caller's transaction.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, TextClause, text

from annotator.crowd.gold import PAUSE_REASON
from db.schema import Order
from db.store.clock import now

if TYPE_CHECKING:
    from annotator.labelling.routing import Router

LEASE_MS = 10 * 60_000
RETURNED_TAB = "returned"
"""Holds the leases of items that were sent back, until a tab of their person takes them."""

_RELEASE_HELD = text(
    "UPDATE leases SET tab = :tab, expires = held_until WHERE expires < :now AND held_until > :now"
)
_EXPIRE = text("DELETE FROM leases WHERE expires < :now RETURNING batch_id, position")
_RELEASE_SLOT = text(
    "UPDATE batch_items SET slots_used = slots_used - 1"
    " WHERE batch_id = :batch AND position = :position AND votes_required > 0"
)
_TAKE_SLOT = text(
    "UPDATE batch_items SET slots_used = slots_used + 1"
    " WHERE batch_id = :batch AND position = :position AND slots_used < votes_required"
)
_ITEM = text(
    "SELECT position, votes_required FROM batch_items"
    " WHERE batch_id = :batch AND triple_id = :triple"
)
_STATE = f"""
    batches.open AS batch_open, ({PAUSE_REASON}) AS pause_reason,
    (SELECT open FROM studies WHERE id = :study AND batch_id = :batch) AS study_open,
    (SELECT finished FROM study_sessions WHERE study_id = :study AND person_id = :person)
        AS study_finished
"""  # noqa: S608 - constants only
_LABELLING_STATE = text(f"SELECT {_STATE} FROM batches WHERE id = :batch")  # noqa: S608 - constants only
# One round trip: the state, and the person's leases, if any.
_STATE_AND_LEASES = text(f"""
    SELECT {_STATE}, leases.position, leases.tab, leases.note
    FROM batches LEFT JOIN leases ON leases.batch_id = batches.id AND leases.person_id = :person
    WHERE batches.id = :batch ORDER BY leases.expires, leases.position
""")  # noqa: S608 - constants only
_MOVE_TO_TAB = text(
    "UPDATE leases SET tab = :tab, expires = :expires"
    " WHERE batch_id = :batch AND person_id = :person AND position = :position"
)
# The subqueries use the unique index of standing votes and the primary key of leases.
NOT_SEEN = """
      AND NOT EXISTS (SELECT 1 FROM votes WHERE votes.triple_id = item.triple_id
                      AND votes.person_id = :person AND votes.withdrawn IS NULL)
      AND NOT EXISTS (SELECT 1 FROM leases WHERE leases.batch_id = item.batch_id
                      AND leases.position = item.position AND leases.person_id = :person)
"""
_OPEN_ITEMS = (
    "SELECT position FROM batch_items AS item"  # noqa: S608 - constants only
    " WHERE batch_id = :batch AND slots_used < votes_required AND position {side} :after"
    f" {NOT_SEEN} ORDER BY position LIMIT :count"
)
_OPEN_AFTER = text(_OPEN_ITEMS.format(side=">"))
_OPEN_BEFORE = text(_OPEN_ITEMS.format(side="<="))
# PostgreSQL runs transactions concurrently: SKIP LOCKED passes over items that another transaction
# is about to take, and one statement replaces three round trips.
_LEASE_AFTER = text(f"""
    WITH candidates AS ({_OPEN_ITEMS.format(side=">")} FOR UPDATE SKIP LOCKED),
    claimed AS (UPDATE batch_items SET slots_used = slots_used + 1
              WHERE batch_id = :batch AND position IN (SELECT position FROM candidates)
              RETURNING position),
    leased AS (INSERT INTO leases (batch_id, position, person_id, expires, tab)
               SELECT :batch, position, :person, :expires, :tab FROM claimed
               ON CONFLICT DO NOTHING RETURNING position)
    SELECT claimed.position, leased.position IS NOT NULL AS is_leased
    FROM claimed LEFT JOIN leased ON leased.position = claimed.position ORDER BY claimed.position
""")  # noqa: S608 - constants only
# Each person gets gold in a different order, so that annotators cannot identify it together.
_GOLD_ITEMS = text(
    "SELECT position FROM batch_items AS item JOIN gold"  # noqa: S608 - constants only
    " ON gold.triple_id = item.triple_id"
    " WHERE batch_id = :batch AND votes_required = 0 AND gold.is_training_item = :is_training_item"
    f" {NOT_SEEN} ORDER BY (position * (2 * :person + 1)) % 1009, position LIMIT :count"
)
_COUNT_TRAINING = text(
    "SELECT COUNT(*) FROM votes"
    " JOIN gold ON gold.triple_id = votes.triple_id AND gold.is_training_item"
    " WHERE votes.batch_id = :batch AND votes.person_id = :person AND votes.withdrawn IS NULL"
)
_LAST_POSITION = text(
    "SELECT MAX(item.position) FROM votes JOIN batch_items AS item"
    " ON item.batch_id = votes.batch_id AND item.triple_id = votes.triple_id"
    " WHERE votes.person_id = :person AND votes.batch_id = :batch AND item.votes_required > 0"
)
_COUNT_JUDGED = text(
    "SELECT COUNT(*) FROM votes WHERE person_id = :person AND batch_id = :batch"
    " AND withdrawn IS NULL AND decision <> 'skip' AND created >= COALESCE((SELECT created"
    " FROM study_sessions WHERE study_id = :study AND person_id = :person), 0)"
)
_ADD_LEASE = text(
    "INSERT INTO leases (batch_id, position, person_id, expires, tab)"
    " VALUES (:batch, :position, :person, :expires, :tab) ON CONFLICT DO NOTHING"
)
_HOLD = text(
    "INSERT INTO leases (batch_id, position, person_id, expires, tab, held_until, note)"
    " VALUES (:batch, :position, :person, :until, :tab, :until, :note) ON CONFLICT DO NOTHING"
)
END_LEASE = (
    "DELETE FROM leases WHERE batch_id = :batch AND person_id = :person AND position ="
    " (SELECT position FROM batch_items WHERE batch_id = :batch AND triple_id = :triple)"
)
_END_LEASE = text(END_LEASE + " RETURNING position, expires")
_COUNT_LEASED_GOLD = text(
    "SELECT COUNT(*) FROM leases JOIN batch_items AS item ON item.batch_id = leases.batch_id"
    " AND item.position = leases.position"
    " WHERE leases.batch_id = :batch AND person_id = :person AND votes_required = 0"
)


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """Who labels: a person in a browser tab; a crowd worker's `study` has a `quota` of triples."""

    person: int
    tab: str = ""
    quota: int | None = None
    study: int | None = None


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """The settings of a batch that decide what is leased; see `db.schema.Batch`."""

    batch: int
    gold_rate: float
    qualification_items: int
    min_gold_accuracy: float
    ordering: Order = "random"


@dataclass(frozen=True, slots=True)
class LeaseResult:
    """Positions that the tab held before, new ones, and the reason if the person is paused.

    `notes` has, by position, what a researcher wrote about an item that was sent back.
    """

    held: Sequence[int] = ()
    new: Sequence[int] = ()
    paused: str | None = None
    notes: Mapping[int, str] = field(default_factory=dict)


class Leases:
    """Leases items to people. Memory holds only a cache: each person's last position."""

    def __init__(self, router: "Router | None" = None) -> None:
        self._router = router
        self._last_position: dict[tuple[int, int], int] = {}
        self._rng = random.Random()  # noqa: S311 - the order of gold needs no cryptography

    def acquire(
        self, connection: Connection, holder: LeaseHolder, policy: BatchPolicy, count: int
    ) -> LeaseResult:
        """Lease items until the holder's tab has `count` of them."""
        key = {"batch": policy.batch, "person": holder.person}
        rows = connection.execute(_STATE_AND_LEASES, {**key, "study": holder.study}).all()
        state = rows[0]
        is_closed = holder.study is not None and not state.study_open
        if state.pause_reason is not None or is_closed or not state.batch_open:
            return LeaseResult(paused=state.pause_reason)
        leases = [row for row in rows if row.position is not None]
        held = [row.position for row in leases if row.tab == holder.tab]
        returned = [row.position for row in leases if row.tab == RETURNED_TAB]
        returned = returned[: max(0, count - len(held))] if holder.tab != RETURNED_TAB else []
        missing = count - len(held) - len(returned)
        if holder.quota is not None and missing > 0:
            judged = count_judged(connection, holder, policy.batch)
            missing = min(missing, holder.quota - judged - len(leases))
        new = self._lease_new(connection, holder, policy, missing) if missing > 0 else []
        moved = returned
        if not held and not new and not returned:
            # Another tab of this person, possibly closed long ago, holds the last items.
            moved = [row.position for row in leases[:count]]
        for position in moved:
            connection.execute(_MOVE_TO_TAB, {**key, **_expiry(holder), "position": position})
        notes = {row.position: row.note for row in leases if row.note}
        return LeaseResult(held, [*moved, *new], notes=notes)

    def _lease_new(
        self, connection: Connection, holder: LeaseHolder, policy: BatchPolicy, count: int
    ) -> list[int]:
        """Lease training items until the qualification round is over; then open items and gold."""
        key = {"batch": policy.batch, "person": holder.person}
        if policy.qualification_items:
            remaining = training_items_left(connection, holder, policy)
            training = self._lease_gold(
                connection, holder, policy, min(count, remaining), is_training_item=True
            )
            if training or (remaining and connection.execute(_COUNT_LEASED_GOLD, key).scalar_one()):
                return training
        hidden: list[int] = []
        if policy.gold_rate:
            n_gold = sum(self._rng.random() < policy.gold_rate for _ in range(count))
            hidden = self._lease_gold(connection, holder, policy, n_gold, is_training_item=False)
        new, left = hidden, count - len(hidden)
        if self._router is not None and policy.ordering == "information" and left > 0:
            routed = self._router.lease(connection, holder, policy, left)
            new, left = new + routed, left - len(routed)
        if left > 0:
            new = new + self._lease_open(connection, holder, policy, left)
        if hidden:
            self._rng.shuffle(new)
        return new

    def _lease_gold(
        self,
        connection: Connection,
        holder: LeaseHolder,
        policy: BatchPolicy,
        count: int,
        *,
        is_training_item: bool,
    ) -> list[int]:
        if count <= 0:
            return []
        key = {"batch": policy.batch, "person": holder.person}
        query = {**key, "is_training_item": is_training_item, "count": count}
        positions = connection.execute(_GOLD_ITEMS, query).scalars().all()
        return [p for p in positions if add_lease(connection, policy.batch, p, holder)]

    def _lease_open(
        self, connection: Connection, holder: LeaseHolder, policy: BatchPolicy, count: int
    ) -> list[int]:
        """Lease items that still need votes: those after the person's last one, then the others."""
        key = policy.batch, holder.person
        if key not in self._last_position:
            query = {"batch": policy.batch, "person": holder.person}
            last = connection.execute(_LAST_POSITION, query).scalar()
            self._last_position[key] = -1 if last is None else last
        if connection.dialect.name == "postgresql":
            new = self._lease_after(connection, holder, policy.batch, count)
        else:
            new = self._lease_matching(connection, holder, policy.batch, _OPEN_AFTER, count)
        if len(new) < count:
            new += self._lease_matching(
                connection, holder, policy.batch, _OPEN_BEFORE, count - len(new)
            )
        return new

    def _lease_matching(
        self,
        connection: Connection,
        holder: LeaseHolder,
        batch_id: int,
        query: TextClause,
        count: int,
    ) -> list[int]:
        """Lease up to `count` items of `query`, one statement each."""
        key = batch_id, holder.person
        parameters = {
            "batch": batch_id,
            "person": holder.person,
            "after": self._last_position[key],
            "count": count,
        }
        new: list[int] = []
        for position in connection.execute(query, parameters).scalars().all():
            slot = {"batch": batch_id, "position": position}
            # On PostgreSQL a concurrent transaction may have taken the slot or added the lease.
            if not take_slot(connection, slot):
                continue
            if add_lease(connection, batch_id, position, holder):
                self._last_position[key] = position
                new.append(position)
            else:
                release_slot(connection, slot)
        return new

    def _lease_after(
        self, connection: Connection, holder: LeaseHolder, batch_id: int, count: int
    ) -> list[int]:
        """Lease up to `count` items after the last position, in one statement (PostgreSQL)."""
        key = batch_id, holder.person
        parameters = {
            "batch": batch_id,
            **_expiry(holder),
            "after": self._last_position[key],
            "count": count,
        }
        new: list[int] = []
        for row in connection.execute(_LEASE_AFTER, parameters).all():
            if row.is_leased:
                self._last_position[key] = row.position
                new.append(row.position)
            else:
                # A concurrent request of the same person has leased it.
                release_slot(connection, {"batch": batch_id, "position": row.position})
        return new


def add_lease(connection: Connection, batch_id: int, position: int, holder: LeaseHolder) -> bool:
    """Lease an item; False if the person holds a lease on it already."""
    row = {"batch": batch_id, "position": position, **_expiry(holder)}
    return bool(connection.execute(_ADD_LEASE, row).rowcount)


def take_slot(connection: Connection, slot: Mapping[str, Any]) -> bool:
    """Occupy one more slot of the item `batch`, `position`; False if all are occupied."""
    return bool(connection.execute(_TAKE_SLOT, slot).rowcount)


def release_slot(connection: Connection, slot: Mapping[str, Any]) -> None:
    """Free one slot of the item `batch`, `position`; gold has none."""
    connection.execute(_RELEASE_SLOT, slot)


def count_judged(connection: Connection, holder: LeaseHolder, batch_id: int) -> int:
    """How many triples of a batch the person has judged, in the holder's study if they have one.

    Gold counts, a skip does not.
    """
    key = {"batch": batch_id, "person": holder.person, "study": holder.study}
    return int(connection.execute(_COUNT_JUDGED, key).scalar_one())


def hold(
    connection: Connection, slot: Mapping[str, Any], person: int, *, until: int, note: str
) -> bool:
    """Lease the item `batch`, `position` to a person until then; False if they hold it already.

    No tab has it yet, and when the time of one ends, it stays with the person.
    """
    row = {**slot, "person": person, "until": until, "note": note, "tab": RETURNED_TAB}
    return bool(connection.execute(_HOLD, row).rowcount)


def expire_leases(connection: Connection) -> None:
    """Delete expired leases and free their slots; those of items sent back leave their tab."""
    connection.execute(_RELEASE_HELD, {"now": now(), "tab": RETURNED_TAB})
    for row in connection.execute(_EXPIRE, {"now": now()}).all():
        release_slot(connection, {"batch": row.batch_id, "position": row.position})


def end_lease(connection: Connection, vote: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Delete the lease of a vote's batch, triple and person; its position and expiry, or None."""
    row = connection.execute(_END_LEASE, vote).first()
    return (None, None) if row is None else (row.position, row.expires)


def consume_lease(
    connection: Connection, vote: Mapping[str, Any], position: int | None, *, needs_slot: bool
) -> bool:
    """Give the slot of an ended lease at `position` to its vote; free it for a skip.

    Without a lease (None: it has expired) the vote takes a new slot. False if none is left.
    """
    if position is not None:
        if not needs_slot:
            release_slot(connection, {**vote, "position": position})
        return True
    item = connection.execute(_ITEM, vote).one()
    return (
        not needs_slot
        or not item.votes_required
        or take_slot(connection, {**vote, "position": item.position})
    )


def labelling_state(connection: Connection, holder: LeaseHolder, batch_id: int) -> Any:  # noqa: ANN401 - a row
    """A row: `batch_open`, and `pause_reason`, `study_open` and `study_finished` or None."""
    key = {"batch": batch_id, "person": holder.person, "study": holder.study}
    return connection.execute(_LABELLING_STATE, key).one()


def training_items_left(connection: Connection, holder: LeaseHolder, policy: BatchPolicy) -> int:
    """How many training items the person must still judge before they get work."""
    if not policy.qualification_items:
        return 0
    key = {"batch": policy.batch, "person": holder.person}
    done = int(connection.execute(_COUNT_TRAINING, key).scalar_one())
    return max(0, policy.qualification_items - done)


def is_gold(connection: Connection, batch_id: int, triple_id: int) -> bool:
    """Whether a triple is in a batch as gold."""
    key = {"batch": batch_id, "triple": triple_id}
    return not connection.execute(_ITEM, key).one().votes_required


def _expiry(holder: LeaseHolder) -> dict[str, Any]:
    return {"person": holder.person, "tab": holder.tab, "expires": now() + LEASE_MS}
