"""Leases: promises of triples to people, with which places in a batch are taken and given back.

Plain SQL inside the caller's transaction. Gold has places that require no votes: it is leased as
any other triple, but no slot is used.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, TextClause, text

from annotator.crowd import gold
from db.store.clock import now

LEASE_MS = 10 * 60_000
_FREE_SECONDS = 2.0

_EXPIRE = text("DELETE FROM leases WHERE expires < :now RETURNING batch_id, position")
_GIVE_BACK = text(
    "UPDATE batch_items SET slots_used = slots_used - 1"
    " WHERE batch_id = :batch AND position = :position AND votes_required > 0"
)
_TAKE = text(
    "UPDATE batch_items SET slots_used = slots_used + 1"
    " WHERE batch_id = :batch AND position = :position AND slots_used < votes_required"
)
_PLACE = text(
    "SELECT position, votes_required FROM batch_items"
    " WHERE batch_id = :batch AND triple_id = :triple"
)
_MINE = text(
    "SELECT position, tab FROM leases WHERE batch_id = :batch AND person_id = :person"
    " ORDER BY expires, position"
)
_ADOPT = text(
    "UPDATE leases SET tab = :tab, expires = :expires"
    " WHERE batch_id = :batch AND person_id = :person AND position = :position"
)
# The look-ups behind NOT EXISTS use the unique index of standing votes and the leases' key.
_UNSEEN = """
      AND NOT EXISTS (SELECT 1 FROM votes WHERE votes.triple_id = item.triple_id
                      AND votes.person_id = :person AND votes.withdrawn IS NULL)
      AND NOT EXISTS (SELECT 1 FROM leases WHERE leases.batch_id = item.batch_id
                      AND leases.position = item.position AND leases.person_id = :person)
"""
_OPEN = (
    "SELECT position FROM batch_items AS item"  # noqa: S608 - the pieces stand above
    " WHERE batch_id = :batch AND slots_used < votes_required AND position {side} :after"
    f" {_UNSEEN} ORDER BY position LIMIT :count"
)
_AFTER, _BEFORE = text(_OPEN.format(side=">")), text(_OPEN.format(side="<="))
# PostgreSQL, where people write side by side: each passes by what another is about to take, and
# finding, taking and leasing are one statement instead of three.
_TAKE_AFTER = text(f"""
    WITH found AS ({_OPEN.format(side=">")} FOR UPDATE SKIP LOCKED),
    claimed AS (UPDATE batch_items SET slots_used = slots_used + 1
              WHERE batch_id = :batch AND position IN (SELECT position FROM found)
              RETURNING position),
    leased AS (INSERT INTO leases (batch_id, position, person_id, expires, tab)
               SELECT :batch, position, :person, :expires, :tab FROM claimed
               ON CONFLICT DO NOTHING RETURNING position)
    SELECT claimed.position, leased.position IS NOT NULL AS is_leased
    FROM claimed LEFT JOIN leased ON leased.position = claimed.position ORDER BY claimed.position
""")  # noqa: S608 - the pieces stand above
# Gold comes to each person in another order: who compares notes learns nothing.
_GOLD = text(
    "SELECT position FROM batch_items AS item JOIN gold"  # noqa: S608 - the same
    " ON gold.triple_id = item.triple_id"
    " WHERE batch_id = :batch AND votes_required = 0 AND gold.is_training_item = :is_training_item"
    f" {_UNSEEN} ORDER BY (position * (2 * :person + 1)) % 1009, position LIMIT :count"
)
_TAUGHT = text(
    "SELECT COUNT(*) FROM votes"
    " JOIN gold ON gold.triple_id = votes.triple_id AND gold.is_training_item"
    " WHERE votes.batch_id = :batch AND votes.person_id = :person AND votes.withdrawn IS NULL"
)
_LAST = text(
    "SELECT MAX(item.position) FROM votes JOIN batch_items AS item"
    " ON item.batch_id = votes.batch_id AND item.triple_id = votes.triple_id"
    " WHERE votes.person_id = :person AND votes.batch_id = :batch AND item.votes_required > 0"
)
_JUDGED = text(
    "SELECT COUNT(*) FROM votes WHERE person_id = :person AND batch_id = :batch"
    " AND withdrawn IS NULL AND decision <> 'skip'"
)
_LEASE = text(
    "INSERT INTO leases (batch_id, position, person_id, expires, tab)"
    " VALUES (:batch, :position, :person, :expires, :tab) ON CONFLICT DO NOTHING"
)
END_LEASE = (
    "DELETE FROM leases WHERE batch_id = :batch AND person_id = :person AND position ="
    " (SELECT position FROM batch_items WHERE batch_id = :batch AND triple_id = :triple)"
)
_END_LEASE = text(END_LEASE + " RETURNING position")
_HOLDS_GOLD = text(
    "SELECT COUNT(*) FROM leases JOIN batch_items AS item ON item.batch_id = leases.batch_id"
    " AND item.position = leases.position"
    " WHERE leases.batch_id = :batch AND person_id = :person AND votes_required = 0"
)


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """Who asks: a person, the browser tab that holds the leases, and a crowd worker's quota."""

    person: int
    tab: str = ""
    quota: int | None = None


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """What a batch asks of its annotators; see `db.schema.Batch`."""

    batch: int
    open: bool
    gold_rate: float
    qualification_items: int
    min_gold_accuracy: float


@dataclass(frozen=True, slots=True)
class LeaseResult:
    """Places that a tab held already, new ones, and why there are none."""

    held: Sequence[int] = ()
    new: Sequence[int] = ()
    paused: str | None = None


class Leases:
    """Gives out places. What it keeps in memory are hints: how far each person has come."""

    def __init__(self) -> None:
        self._reached: dict[tuple[int, int], int] = {}
        self._free: dict[tuple[int, int], float] = {}
        self._chance = random.Random()  # noqa: S311 - where gold comes is no secret worth a cipher

    def acquire(
        self, connection: Connection, holder: LeaseHolder, policy: BatchPolicy, count: int
    ) -> LeaseResult:
        """Lease until the tab holds `count` places."""
        asked = {"batch": policy.batch, "person": holder.person}
        reason = self._paused(connection, holder, policy)
        if reason is not None or not policy.open:
            return LeaseResult(paused=reason)
        leases = connection.execute(_MINE, asked).all()
        held = [row.position for row in leases if row.tab == holder.tab]
        missing = count - len(held)
        if holder.quota is not None and missing > 0:
            missing = min(
                missing, holder.quota - count_judged(connection, holder, policy.batch) - len(leases)
            )
        new = self._find(connection, holder, policy, missing) if missing > 0 else []
        if not held and not new:
            # Another tab of this person, perhaps long closed, has the last ones.
            new = [row.position for row in leases[:count]]
            for position in new:
                connection.execute(_ADOPT, {**asked, **_until(holder), "position": position})
        return LeaseResult(held, new)

    def invalidate(self, holder: LeaseHolder, policy: BatchPolicy) -> None:
        """A judgement of gold may have paused the person."""
        self._free.pop((policy.batch, holder.person), None)

    def _paused(self, connection: Connection, who: LeaseHolder, rules: BatchPolicy) -> str | None:
        """Why the person may not go on. Who may is not asked for again for two seconds."""
        place = rules.batch, who.person
        if self._free.get(place, 0.0) > time.monotonic():
            return None
        reason = gold.pause_reason(connection, who.person, rules.batch)
        if reason is None:
            self._free[place] = time.monotonic() + _FREE_SECONDS
        return reason

    def _find(
        self, connection: Connection, who: LeaseHolder, rules: BatchPolicy, missing: int
    ) -> list[int]:
        asked = {"batch": rules.batch, "person": who.person}
        if rules.qualification_items:
            to_teach = rules.qualification_items - connection.execute(_TAUGHT, asked).scalar_one()
            new = self._gold(connection, who, rules, min(missing, to_teach), is_training_item=True)
            # The round is over before anything else begins.
            if new or (to_teach > 0 and connection.execute(_HOLDS_GOLD, asked).scalar_one()):
                return new
        gold: list[int] = []
        if rules.gold_rate:
            wished = sum(self._chance.random() < rules.gold_rate for _ in range(missing))
            gold = self._gold(connection, who, rules, wished, is_training_item=False)
        new = gold + self._open(connection, who, rules, missing - len(gold))
        if gold:
            self._chance.shuffle(new)
        return new

    def _gold(
        self,
        connection: Connection,
        who: LeaseHolder,
        rules: BatchPolicy,
        count: int,
        *,
        is_training_item: bool,
    ) -> list[int]:
        if count <= 0:
            return []
        asked = {
            "batch": rules.batch,
            "person": who.person,
            "is_training_item": is_training_item,
            "count": count,
        }
        found = connection.execute(_GOLD, asked).scalars().all()
        return [position for position in found if add_lease(connection, rules.batch, position, who)]

    def _open(
        self, connection: Connection, who: LeaseHolder, rules: BatchPolicy, count: int
    ) -> list[int]:
        """The next places that want votes: behind where the person was, then before it."""
        asked = {"batch": rules.batch, "person": who.person}
        reached = rules.batch, who.person
        if reached not in self._reached:
            last = connection.execute(_LAST, asked).scalar()
            self._reached[reached] = -1 if last is None else last
        if connection.dialect.name == "postgresql":
            new = self._take_after(connection, who, asked, count)
        else:
            new = self._take(connection, who, asked, _AFTER, count)
        if len(new) < count:
            new += self._take(connection, who, asked, _BEFORE, count - len(new))
        return new

    def _take(
        self,
        connection: Connection,
        who: LeaseHolder,
        asked: dict[str, int],
        side: TextClause,
        count: int,
    ) -> list[int]:
        reached = asked["batch"], asked["person"]
        query = {**asked, "after": self._reached[reached], "count": count}
        new: list[int] = []
        for position in connection.execute(side, query).scalars().all():
            place = {"batch": asked["batch"], "position": position}
            # On PostgreSQL others, or another tab of this person, may have been quicker.
            if not take_slot(connection, place):
                continue
            if add_lease(connection, asked["batch"], position, who):
                self._reached[reached] = position
                new.append(position)
            else:
                release_slot(connection, place)
        return new

    def _take_after(
        self, connection: Connection, who: LeaseHolder, asked: dict[str, int], count: int
    ) -> list[int]:
        reached = asked["batch"], asked["person"]
        query = {**asked, **_until(who), "after": self._reached[reached], "count": count}
        new: list[int] = []
        for row in connection.execute(_TAKE_AFTER, query).all():
            if row.is_leased:
                self._reached[reached] = row.position
                new.append(row.position)
            else:
                # Another tab of this person was quicker.
                release_slot(connection, {"batch": asked["batch"], "position": row.position})
        return new


def add_lease(connection: Connection, batch_id: int, position: int, holder: LeaseHolder) -> bool:
    """Lease a place; whether it was not leased to this person before."""
    row = {"batch": batch_id, "position": position, **_until(holder)}
    return bool(connection.execute(_LEASE, row).rowcount)


def take_slot(connection: Connection, slot: dict[str, Any]) -> bool:
    """Count a place as taken once more; whether there was room."""
    return bool(connection.execute(_TAKE, slot).rowcount)


def release_slot(connection: Connection, slot: dict[str, Any]) -> None:
    """Count a place as taken once less."""
    connection.execute(_GIVE_BACK, slot)


def count_judged(connection: Connection, person_id: LeaseHolder, batch_id: int) -> int:
    """How many triples of a batch the person has judged, gold among them."""
    asked = {"batch": batch_id, "person": person_id.person}
    return int(connection.execute(_JUDGED, asked).scalar_one())


def expire_leases(connection: Connection) -> None:
    """Give back what has expired."""
    for row in connection.execute(_EXPIRE, {"now": now()}).all():
        release_slot(connection, {"batch": row.batch_id, "position": row.position})


def end_lease(connection: Connection, vote: dict[str, Any]) -> int | None:
    """End the lease that `place`, which names batch, triple and person, has; its position."""
    position: int | None = connection.execute(_END_LEASE, vote).scalar()
    return position


def consume_lease(
    connection: Connection, vote: dict[str, Any], position: int | None, *, needs_slot: bool
) -> bool:
    """Let a vote have the place whose lease has ended, `leased`; a skip needs none.

    False where the lease had run out before, and the place is somebody else's.
    """
    if position is not None:
        if not needs_slot:
            release_slot(connection, {**vote, "position": position})
        return True
    found = connection.execute(_PLACE, vote).one()
    return (
        not needs_slot
        or not found.votes_required
        or take_slot(connection, {**vote, "position": found.position})
    )


def is_gold(connection: Connection, batch_id: int, triple_id: int) -> bool:
    """Whether a triple is in a batch as gold."""
    asked = {"batch": batch_id, "triple": triple_id}
    return not connection.execute(_PLACE, asked).one().votes_required


def _until(who: LeaseHolder) -> dict[str, Any]:
    return {"person": who.person, "tab": who.tab, "expires": now() + LEASE_MS}
