"""The labelling queue: leases, votes, undo and corrections, each call one transaction.

Invariant: `slots_used` of a batch item counts its votes and live leases, and a table constraint
keeps it within `votes_required`. So nobody votes twice on a triple and no triple gets too many
votes, whatever crashes or is sent twice.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from annotator.crowd import gold, leases
from annotator.crowd.gold import TrainingFeedback
from annotator.crowd.leases import BatchPolicy, LeaseHolder, LeaseResult
from annotator.crowd.payloads import ItemPayload, PayloadCache
from db.schema import REASONS, Batch, Decision, Reason
from db.store import queries
from db.store.clock import now
from db.store.session import Store
from regions.errors import ConflictError, InvalidError

LOOKAHEAD = 4
"""Items that a page holds by default."""

_EXPIRE_EVERY_MS = 1000
_POLICY_CACHE_SECONDS = 2.0

_INSERT = """
    INSERT INTO votes (key, triple_id, person_id, batch_id, decision, reasons, duration_ms,
                       guideline_id, replaces, created)
    SELECT :key, triple_id, :person, batch_id, :decision, :reasons, :duration,
           (SELECT id FROM guidelines WHERE id = :guideline), :replaces, :now
    FROM batch_items WHERE batch_id = :batch AND triple_id = :triple
    ON CONFLICT DO NOTHING
"""
_INSERT_VOTE = text(_INSERT)
# PostgreSQL may be a network away: the vote and the end of its lease in one statement.
_INSERT_VOTE_AND_END_LEASE = text(f"""
    WITH vote AS ({_INSERT} RETURNING id),
    ended AS ({leases.END_LEASE} AND EXISTS (SELECT 1 FROM vote) RETURNING position)
    SELECT EXISTS (SELECT 1 FROM vote) AS is_new, (SELECT position FROM ended) AS position
""")  # noqa: S608 - constants only
_OWN_VOTE = text("""
    SELECT votes.id, decision, votes.batch_id, batches.name AS batch, votes.triple_id,
           item.position, item.votes_required,
           EXISTS (SELECT 1 FROM adjudications AS last WHERE last.triple_id = votes.triple_id
                   AND last.withdrawn IS NULL) AS adjudicated
    FROM votes JOIN batches ON batches.id = votes.batch_id
    JOIN batch_items AS item ON item.batch_id = votes.batch_id AND item.triple_id = votes.triple_id
    WHERE key = :key AND person_id = :person AND withdrawn IS NULL
""")
_WITHDRAW = text("UPDATE votes SET withdrawn = :now WHERE id = :id")
_KEY_OWNER = text("SELECT person_id FROM votes WHERE key = :key")


@dataclass(frozen=True, slots=True)
class VoteInput:
    """A vote before it is stored. The client makes `key`, so that a repeated request is ignored."""

    key: str
    decision: Decision
    reasons: Sequence[Reason] = ()
    duration_ms: int | None = None
    guideline: int | None = None

    def __post_init__(self) -> None:
        if unknown := set(self.reasons) - set(REASONS):
            raise InvalidError(f"unknown reason {min(unknown)!r}", hint=f"use {', '.join(REASONS)}")
        if self.reasons and self.decision != "reject":
            raise InvalidError("only a rejection has reasons")


@dataclass(slots=True)
class NextItems:
    """Items to judge, why the person is paused if they are, and feedback on a training item."""

    items: list[ItemPayload] = field(default_factory=list)
    paused: str | None = None
    feedback: TrainingFeedback | None = None


class Queue:
    """The labelling queue of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._payload_cache = PayloadCache(store)
        self._leases = leases.Leases()
        self._policies: dict[str, tuple[float, BatchPolicy]] = {}
        self._expire_at = 0

    def next_items(self, holder: LeaseHolder, batch: str, count: int) -> NextItems:
        """Up to `count` items for the holder's tab: those it has leased, then new ones."""
        policy = self._policy(batch)

        def job(connection: Connection) -> LeaseResult:
            self._expire_leases(connection)
            return self._leases.acquire(connection, holder, policy, count)

        result = self._store.group_commit(job)
        positions = [*result.held, *result.new]
        return NextItems(self._payloads(policy, batch, positions), result.paused)

    def submit_vote(
        self, holder: LeaseHolder, batch: str, triple: int, vote: VoteInput, *, ahead: int = 0
    ) -> NextItems:
        """Store a vote and lease more items until the tab holds `ahead`; returns the new ones.

        Returns once the vote is on disk. The same key again changes nothing. ConflictError if the
        person has judged the triple, or if the lease expired and all slots are occupied.
        """
        policy = self._policy(batch)
        row = _vote_row(vote) | {"batch": policy.batch, "triple": triple, "person": holder.person}
        needs_slot = vote.decision != "skip"

        def job(connection: Connection) -> tuple[LeaseResult, TrainingFeedback | None]:
            self._expire_leases(connection)
            feedback = None
            is_new, position = _insert_vote(connection, row)
            if is_new:
                if not leases.consume_lease(connection, row, position, needs_slot=needs_slot):
                    raise ConflictError(
                        "this triple already has all its votes; yours was not counted"
                    )
                feedback = self._check_gold(connection, holder, policy, triple, vote.decision)
            else:
                _check_is_repeated(connection, vote.key, holder.person)
            if not ahead:
                return LeaseResult(), feedback
            return self._leases.acquire(connection, holder, policy, ahead), feedback

        result, feedback = self._store.group_commit(job)
        return NextItems(self._payloads(policy, batch, result.new), result.paused, feedback)

    def undo(self, holder: LeaseHolder, key: str) -> ItemPayload:
        """Withdraw the person's vote `key` and lease its item again; returns the item."""

        def job(connection: Connection) -> Any:  # noqa: ANN401 - a row
            vote = _own_vote(connection, key, holder.person)
            connection.execute(_WITHDRAW, {"id": vote.id, "now": now()})
            # A vote kept its slot for the lease; a skip had released it.
            if vote.votes_required and vote.decision == "skip":
                _take_slot(connection, vote)
            leases.add_lease(connection, vote.batch_id, vote.position, holder)
            return vote

        vote = self._store.group_commit(job)
        (payload,) = self._payload_cache.get(vote.batch_id, [vote.position])
        return {"batch": vote.batch, **payload}

    def correct(self, holder: LeaseHolder, key: str, correction: VoteInput) -> None:
        """Replace the person's vote `key`, which is kept as withdrawn.

        ConflictError if the triple is adjudicated or gold.
        """

        def job(connection: Connection) -> None:
            if connection.execute(_KEY_OWNER, {"key": correction.key}).scalar() == holder.person:
                return  # a repeated request
            vote = _own_vote(connection, key, holder.person)
            if not vote.votes_required:
                # Gold: a correction after the feedback would say nothing about the person.
                raise ConflictError("this vote can no longer be changed")
            had_slot, needs_slot = vote.decision != "skip", correction.decision != "skip"
            if needs_slot and not had_slot:
                _take_slot(connection, vote)
            if had_slot and not needs_slot:
                leases.release_slot(connection, _slot(vote))
            connection.execute(_WITHDRAW, {"id": vote.id, "now": now()})
            row = _vote_row(correction) | {"batch": vote.batch_id, "person": holder.person}
            connection.execute(_INSERT_VOTE, row | {"triple": vote.triple_id, "replaces": vote.id})

        self._store.group_commit(job)

    def count_judged(self, person_id: int, batch: str) -> int:
        """How many triples of a batch the person has judged, including gold."""
        with self._store.read() as session:
            batch_id = queries.by_name(session, Batch, batch).id
            return leases.count_judged(session.connection(), person_id, batch_id)

    def _check_gold(
        self,
        connection: Connection,
        holder: LeaseHolder,
        policy: BatchPolicy,
        triple: int,
        decision: Decision,
    ) -> TrainingFeedback | None:
        """After a vote on gold: enforce the batch's accuracy; feedback on a training item."""
        if not (policy.qualification_items or policy.gold_rate):
            return None
        if not leases.is_gold(connection, policy.batch, triple):
            return None
        if policy.min_gold_accuracy:
            gold.enforce_accuracy(
                connection,
                holder.person,
                policy.batch,
                min_gold_accuracy=policy.min_gold_accuracy,
                qualification_items=policy.qualification_items,
            )
            self._leases.invalidate(holder, policy)
        return gold.training_feedback(connection, triple, decision)

    def _expire_leases(self, connection: Connection) -> None:
        """Expire leases at most once a second."""
        if now() >= self._expire_at:
            self._expire_at = now() + _EXPIRE_EVERY_MS
            leases.expire_leases(connection)

    def _payloads(
        self, policy: BatchPolicy, batch: str, positions: Sequence[int]
    ) -> list[ItemPayload]:
        payloads = self._payload_cache.get(policy.batch, positions)
        return [{"batch": batch, **payload} for payload in payloads]

    def _policy(self, batch: str) -> BatchPolicy:
        """The policy of a batch, cached for two seconds."""
        until, policy = self._policies.get(batch, (0.0, None))
        if policy is not None and until > time.monotonic():
            return policy
        with self._store.read() as session:
            row = queries.by_name(session, Batch, batch)
            policy = BatchPolicy(
                row.id, row.open, row.gold_rate, row.qualification_items, row.min_gold_accuracy
            )
        self._policies[batch] = time.monotonic() + _POLICY_CACHE_SECONDS, policy
        return policy


def _insert_vote(connection: Connection, row: Mapping[str, Any]) -> tuple[bool, int | None]:
    """Store a vote and end its lease: whether it is new, and the position that was leased."""
    if connection.dialect.name == "postgresql":
        result = connection.execute(_INSERT_VOTE_AND_END_LEASE, row).one()
        return result.is_new, result.position
    if not connection.execute(_INSERT_VOTE, row).rowcount:
        return False, None
    return True, leases.end_lease(connection, row)


def _vote_row(vote: VoteInput) -> dict[str, Any]:
    return {
        "key": vote.key,
        "decision": vote.decision,
        "reasons": "[" + ", ".join(f'"{reason}"' for reason in vote.reasons) + "]",
        "duration": vote.duration_ms,
        "guideline": vote.guideline,
        "replaces": None,
        "now": now(),
    }


def _slot(vote: Any) -> dict[str, int]:  # noqa: ANN401 - a row of _OWN_VOTE
    return {"batch": vote.batch_id, "position": vote.position}


def _take_slot(connection: Connection, vote: Any) -> None:  # noqa: ANN401 - a row of _OWN_VOTE
    if not leases.take_slot(connection, _slot(vote)):
        raise ConflictError("this triple received all its votes after you skipped it")


def _own_vote(connection: Connection, key: str, person_id: int) -> Any:  # noqa: ANN401 - a row
    vote = connection.execute(_OWN_VOTE, {"key": key, "person": person_id}).first()
    if vote is None:
        raise ConflictError("this vote does not exist or was already withdrawn")
    if vote.adjudicated:
        raise ConflictError("a researcher has adjudicated this triple; your vote cannot be changed")
    return vote


def _check_is_repeated(connection: Connection, key: str, person_id: int) -> None:
    """ConflictError unless the vote was not stored because this person has sent it before."""
    owner = connection.execute(_KEY_OWNER, {"key": key}).scalar()
    if owner is None:
        raise ConflictError("you have already judged this triple, or it is not in this batch")
    if owner != person_id:
        raise ConflictError("this key belongs to another person's vote")
