"""The labelling queue: leases, votes, undo and corrections, each call one transaction.

What may happen to a batch item and one person::

                 lease                  vote
      ┌──────┐ ─────────▶ ┌────────┐ ─────────▶ ┌───────┐ ──┐ correct
      │ open │            │ leased │            │ voted │   │ (also to a skip
      └──────┘ ◀───────── └────────┘ ◀───────── └───────┘ ◀─┘  and back)
         │     expire,        ▲        undo,      ▲
         │                    │        sent back  │
         │     pause          │ undo, sent back   │ correct
         │                    │                   │
         │ vote without     ┌─────────┐ ──────────┘
         └────────────────▶ │ skipped │
           a lease          └─────────┘ ◀── vote "skip"

A leased or voted item occupies one of its `votes_required` slots; an open or skipped one does not,
and gold has none. Nobody leases what they have a standing vote on. (On PostgreSQL a late vote may
miss a lease that another request of the same person takes at that moment; it expires unused.)

Rules: leasing, and every change without a live lease (a late vote, undo, a correction), require
that batch and study are open, that the person is not paused, and, before work, that their
qualification round is over. A crowd worker's votes never exceed the quota of the study, and are
final once the completion code was shown. Nothing changes once a triple is adjudicated. A vote on a
training item is final, because its feedback was shown.

A researcher may send votes back (`annotator.labelling.returns`): each is withdrawn, and its item
stays leased to its person for days, not minutes, with a note. A closed batch may be opened again,
require more votes, or get more triples (`db.labelling.changes`): open items appear, and nothing
else changes.

`slots_used` counts standing votes and leases, within a table constraint, and a unique index allows
one standing vote per person and triple; `lskd check` verifies both.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from annotator.crowd import gold
from annotator.crowd.gold import TrainingFeedback
from annotator.labelling import leases, votes
from annotator.labelling.leases import BatchPolicy, LeaseHolder, LeaseResult
from annotator.labelling.payloads import ItemPayload, PayloadCache
from annotator.labelling.routing import Router
from annotator.labelling.votes import VoteInput
from db.schema import Batch, Decision
from db.store import queries
from db.store.clock import now
from db.store.session import Store

LOOKAHEAD = 4
"""Items that a page holds by default."""

_EXPIRE_EVERY_MS = 1000
_POLICY_CACHE_SECONDS = 2.0


@dataclass(slots=True)
class NextItems:
    """Items to judge, why the person is paused if they are, and feedback on a training item."""

    items: list[ItemPayload] = field(default_factory=list)
    paused: str | None = None
    feedback: TrainingFeedback | None = None


class Queue:
    """The labelling queue of a store."""

    def __init__(self, store: Store, router: Router | None = None) -> None:
        self._store = store
        self._payload_cache = PayloadCache(store)
        self._router = router
        self._leases = leases.Leases(router)
        self._policies: dict[str, tuple[float, BatchPolicy]] = {}
        self._expire_at = 0

    def next_items(self, holder: LeaseHolder, batch: str, count: int) -> NextItems:
        """Up to `count` items for the holder's tab: those it has leased, then new ones."""
        policy = self._policy(batch)

        def job(connection: Connection) -> LeaseResult:
            self._expire_leases(connection)
            votes.lock_worker(connection, holder)
            return self._leases.acquire(connection, holder, policy, count)

        result = self._store.group_commit(job)
        positions = [*result.held, *result.new]
        return NextItems(self._payloads(policy, batch, positions, result.notes), result.paused)

    def submit_vote(
        self, holder: LeaseHolder, batch: str, triple: int, vote: VoteInput, *, ahead: int = 0
    ) -> NextItems:
        """Store a vote and lease more items until the tab holds `ahead`; returns the new ones.

        Returns once the vote is on disk; the same request again changes nothing. ConflictError if
        a rule forbids it.
        """
        policy = self._policy(batch)

        def job(connection: Connection) -> tuple[LeaseResult, TrainingFeedback | None, bool]:
            self._expire_leases(connection)
            feedback = None
            if is_new := votes.store_vote(connection, holder, policy, triple, vote):
                feedback = _check_gold(connection, holder, policy, triple, vote.decision)
            if not ahead:
                return LeaseResult(), feedback, is_new
            return self._leases.acquire(connection, holder, policy, ahead), feedback, is_new

        result, feedback, is_new = self._store.group_commit(job)
        if is_new and self._router is not None:
            self._router.record(policy.batch, triple, holder.person, vote.decision)
        items = self._payloads(policy, batch, result.new, result.notes)
        return NextItems(items, result.paused, feedback)

    def undo(self, holder: LeaseHolder, key: str) -> ItemPayload:
        """Withdraw the person's vote `key` and lease its item again; returns the item.

        ConflictError if a rule forbids it, or if the person has seen feedback on the vote.
        """
        vote = self._store.group_commit(lambda connection: votes.undo_vote(connection, holder, key))
        (payload,) = self._payload_cache.get(vote.batch_id, [vote.position])
        return {"batch": vote.batch, "note": "", **payload}

    def correct(self, holder: LeaseHolder, key: str, correction: VoteInput) -> None:
        """Replace the person's vote `key`, which is kept as withdrawn.

        ConflictError if a rule forbids it, or if the triple is adjudicated or gold.
        """
        self._store.group_commit(
            lambda connection: votes.correct_vote(connection, holder, key, correction)
        )

    def count_judged(self, holder: LeaseHolder, batch: str) -> int:
        """How many triples of a batch, or of their study, the person has judged."""
        with self._store.read() as session:
            batch_id = queries.by_name(session, Batch, batch).id
            return leases.count_judged(session.connection(), holder, batch_id)

    def _expire_leases(self, connection: Connection) -> None:
        """Expire leases at most once a second."""
        if now() >= self._expire_at:
            self._expire_at = now() + _EXPIRE_EVERY_MS
            leases.expire_leases(connection)

    def _payloads(
        self, policy: BatchPolicy, batch: str, positions: Sequence[int], notes: Mapping[int, str]
    ) -> list[ItemPayload]:
        payloads = self._payload_cache.get(policy.batch, positions)
        return [
            {"batch": batch, "note": notes.get(position, ""), **payload}
            for position, payload in zip(positions, payloads, strict=True)
        ]

    def _policy(self, batch: str) -> BatchPolicy:
        """The policy of a batch, cached for two seconds."""
        until, policy = self._policies.get(batch, (0.0, None))
        if policy is not None and until > time.monotonic():
            return policy
        with self._store.read() as session:
            row = queries.by_name(session, Batch, batch)
            policy = BatchPolicy(
                row.id,
                row.gold_rate,
                row.qualification_items,
                row.min_gold_accuracy,
                row.ordering,
            )
        self._policies[batch] = time.monotonic() + _POLICY_CACHE_SECONDS, policy
        return policy


def _check_gold(
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
    return gold.training_feedback(connection, triple, decision)
