"""Who labels what next: leases, votes, undo and corrections, each call one transaction.

A batch item is `taken` once for each vote and each live lease, and the table refuses more than are
wanted: never the same person twice on a triple, never too many votes, whatever crashes or repeats.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from annotator.crowd import gold, leases
from annotator.crowd.leases import BatchPolicy, LeaseHolder
from annotator.crowd.payloads import Item, PayloadCache
from annotator.crowd.progress import get_batch
from db.schema import REASONS, Decision, Reason
from db.store.clock import now
from db.store.session import Store
from regions.errors import ConflictError, InvalidError

LOOKAHEAD = 4
_RECLAIM_MS = 1000
_RULES_SECONDS = 2.0
"""How soon a change of a batch's rules is seen."""

_INSERT = """
    INSERT INTO votes (key, triple_id, person_id, batch_id, decision, reasons, duration_ms,
                       guideline_id, replaces, created)
    SELECT :key, triple_id, :person, batch_id, :decision, :reasons, :duration,
           (SELECT id FROM guidelines WHERE id = :guideline), :replaces, :now
    FROM batch_items WHERE batch_id = :batch AND triple_id = :triple
    ON CONFLICT DO NOTHING
"""
_VOTE = text(_INSERT)
# PostgreSQL, a server away: the vote and the end of its lease in one statement.
_VOTE_AND_END = text(f"""
    WITH vote AS ({_INSERT} RETURNING id),
    ended AS ({leases.END_LEASE} AND EXISTS (SELECT 1 FROM vote) RETURNING position)
    SELECT EXISTS (SELECT 1 FROM vote) AS is_new, (SELECT position FROM ended) AS position
""")  # noqa: S608 - the pieces are ours
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
_SAME_KEY = text("SELECT person_id FROM votes WHERE key = :key")


@dataclass(frozen=True, slots=True)
class VoteInput:
    """A vote before it is stored; `key` is made by the page, so that it counts once."""

    key: str
    decision: Decision
    reasons: Sequence[Reason] = ()
    duration_ms: int | None = None
    guideline: int | None = None

    def __post_init__(self) -> None:
        if set(self.reasons) - set(REASONS) or (self.reasons and self.decision != "reject"):
            raise InvalidError("reasons go with a rejection, and are those of the page")


@dataclass(slots=True)
class NextItems:
    """What a person gets: items, and what there is to say (a pause, feedback)."""

    items: list[Item] = field(default_factory=list)
    paused: str | None = None
    feedback: dict[str, Any] | None = None


class Queue:
    """The queue of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._items = PayloadCache(store)
        self._leases = leases.Leases()
        self._rules: dict[str, tuple[float, BatchPolicy]] = {}
        self._reclaim_at = 0

    def next_items(self, who: LeaseHolder, batch: str, count: int) -> NextItems:
        """The items that the person's tab should hold, `count` of them: those it has, then new."""
        rules = self._rules_of(batch)

        def do(connection: Connection) -> leases.LeaseResult:
            self._reclaim(connection)
            return self._leases.acquire(connection, who, rules, count)

        hold = self._store.group_commit(do)
        return NextItems(self._shown(rules, batch, [*hold.held, *hold.new]), hold.paused)

    def submit_vote(
        self, who: LeaseHolder, batch: str, triple: int, judgement: VoteInput, *, ahead: int = 0
    ) -> NextItems:
        """Store a vote, acknowledged only once it is on disk, and lease what comes next.

        With `ahead`, the tab then holds so many items; those that are new come back. The same
        key again changes nothing. ConflictError: a second vote, and a vote whose lease has
        run out and whose place has gone to somebody else.
        """
        rules = self._rules_of(batch)
        vote = _row(judgement) | {"batch": rules.batch, "triple": triple, "person": who.person}

        def do(connection: Connection) -> tuple[leases.LeaseResult, dict[str, Any] | None]:
            self._reclaim(connection)
            said = None
            is_new, leased = _vote_and_end(connection, vote)
            if is_new:
                if not leases.consume_lease(
                    connection, vote, leased, needs_slot=judgement.decision != "skip"
                ):
                    raise ConflictError(
                        "others have finished this triple; your vote was not needed any more"
                    )
                said = self._learn(connection, who, rules, triple, judgement.decision)
            else:
                _explain(connection, judgement.key, who.person)
            if not ahead:
                return leases.LeaseResult(), said
            return self._leases.acquire(connection, who, rules, ahead), said

        hold, said = self._store.group_commit(do)
        return NextItems(self._shown(rules, batch, hold.new), hold.paused, said)

    def undo(self, who: LeaseHolder, key: str) -> Item:
        """Withdraw one's own vote and lease its item again; the item, to be judged anew."""

        def do(connection: Connection) -> Any:  # noqa: ANN401 - a row
            found = _own_vote(connection, key, who.person)
            connection.execute(_WITHDRAW, {"id": found.id, "now": now()})
            # A vote held its place; a skip gave it back, and may find it gone.
            if found.votes_required and found.decision == "skip":
                _take(connection, found)
            leases.add_lease(connection, found.batch_id, found.position, who)
            return found

        found = self._store.group_commit(do)
        (item,) = self._items.get(found.batch_id, [found.position])
        return {"batch": found.batch, **item}

    def correct(self, who: LeaseHolder, key: str, judgement: VoteInput) -> None:
        """Put another judgement in the place of one's own vote, which stays as withdrawn.

        Refused once the triple is adjudicated, and for gold, which would tell nothing then.
        """

        def do(connection: Connection) -> None:
            if connection.execute(_SAME_KEY, {"key": judgement.key}).scalar() == who.person:
                return  # sent before
            found = _own_vote(connection, key, who.person)
            if not found.votes_required:
                raise ConflictError("this vote cannot be changed any more")
            before, after = found.decision != "skip", judgement.decision != "skip"
            if after and not before:
                _take(connection, found)
            if before and not after:
                leases.release_slot(connection, _place(found))
            connection.execute(_WITHDRAW, {"id": found.id, "now": now()})
            vote = _row(judgement) | {"batch": found.batch_id, "person": who.person}
            connection.execute(_VOTE, vote | {"triple": found.triple_id, "replaces": found.id})

        self._store.group_commit(do)

    def count_judged(self, who: LeaseHolder, batch: str) -> int:
        """How many triples of a batch the person has judged, gold among them."""
        with self._store.read() as session:
            return leases.count_judged(session.connection(), who, get_batch(session, batch).id)

    def _learn(
        self,
        connection: Connection,
        who: LeaseHolder,
        rules: BatchPolicy,
        triple: int,
        decision: Decision,
    ) -> dict[str, Any] | None:
        """After a vote on gold: hold the person to the bar, and say what a lesson says."""
        if not (rules.qualification_items or rules.gold_rate):
            return None
        if not leases.is_gold(connection, rules.batch, triple):
            return None
        if rules.min_gold_accuracy:
            bar, qualify = rules.min_gold_accuracy, rules.qualification_items
            gold.enforce_accuracy(
                connection,
                who.person,
                rules.batch,
                min_gold_accuracy=bar,
                qualification_items=qualify,
            )
            self._leases.invalidate(who, rules)
        return gold.training_feedback(connection, triple, decision)

    def _reclaim(self, connection: Connection) -> None:
        """Once a second is often enough."""
        if now() >= self._reclaim_at:
            self._reclaim_at = now() + _RECLAIM_MS
            leases.expire_leases(connection)

    def _shown(self, rules: BatchPolicy, batch: str, positions: Sequence[int]) -> list[Item]:
        return [{"batch": batch, **item} for item in self._items.get(rules.batch, positions)]

    def _rules_of(self, name: str) -> BatchPolicy:
        until, found = self._rules.get(name, (0.0, None))
        if found is not None and until > time.monotonic():
            return found
        with self._store.read() as session:
            batch = get_batch(session, name)
            found = BatchPolicy(
                batch.id,
                batch.open,
                batch.gold_rate,
                batch.qualification_items,
                batch.min_gold_accuracy,
            )
        self._rules[name] = time.monotonic() + _RULES_SECONDS, found
        return found


def _vote_and_end(connection: Connection, vote: dict[str, Any]) -> tuple[bool, int | None]:
    """Store a vote and end its lease: whether it is new, and the place that was leased."""
    if connection.dialect.name == "postgresql":
        found = connection.execute(_VOTE_AND_END, vote).one()
        return found.is_new, found.position
    if not connection.execute(_VOTE, vote).rowcount:
        return False, None
    return True, leases.end_lease(connection, vote)


def _row(judgement: VoteInput) -> dict[str, Any]:
    return {
        "key": judgement.key,
        "decision": judgement.decision,
        "reasons": "[" + ", ".join(f'"{reason}"' for reason in judgement.reasons) + "]",
        "duration": judgement.duration_ms,
        "guideline": judgement.guideline,
        "replaces": None,
        "now": now(),
    }


def _place(found: Any) -> dict[str, int]:  # noqa: ANN401 - a row
    return {"batch": found.batch_id, "position": found.position}


def _take(connection: Connection, found: Any) -> None:  # noqa: ANN401 - a row
    if not leases.take_slot(connection, _place(found)):
        raise ConflictError("others have finished this triple since you skipped it")


def _own_vote(connection: Connection, key: str, person: int) -> Any:  # noqa: ANN401 - a row
    found = connection.execute(_OWN_VOTE, {"key": key, "person": person}).first()
    if found is None:
        raise ConflictError("this vote is not there, or was withdrawn already")
    if found.adjudicated:
        raise ConflictError("a researcher has decided about this triple; your vote stays as it is")
    return found


def _explain(connection: Connection, key: str, person_id: int) -> None:
    """Why a vote was not stored: sent before, which is well, or refused."""
    owner = connection.execute(_SAME_KEY, {"key": key}).scalar()
    if owner is None:
        raise ConflictError("you have judged this triple already, or it is not in the batch")
    if owner != person_id:
        raise ConflictError("this key belongs to another vote")
