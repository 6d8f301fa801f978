"""Votes: stored once, never updated, withdrawn and replaced; and the rules that each must satisfy.

Every function runs in the caller's transaction. On PostgreSQL, where transactions run concurrently,
a vote that is about to change and a crowd worker who is about to vote are locked first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from annotator.labelling import leases
from annotator.labelling.leases import BatchPolicy, LeaseHolder
from db.schema import REASONS, Decision, Reason
from db.store.clock import now
from regions.errors import ConflictError, InvalidError

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
    ended AS ({leases.END_LEASE} AND EXISTS (SELECT 1 FROM vote) RETURNING position, expires)
    SELECT EXISTS (SELECT 1 FROM vote) AS is_new, ended.position, ended.expires
    FROM (SELECT 1) AS one LEFT JOIN ended ON true
""")  # noqa: S608 - constants only
_STANDING_VOTE = """
    SELECT votes.id, votes.decision, votes.batch_id, batches.name AS batch, votes.triple_id,
           item.position, item.votes_required,
           EXISTS (SELECT 1 FROM adjudications AS last WHERE last.triple_id = votes.triple_id
                   AND last.withdrawn IS NULL) AS adjudicated,
           EXISTS (SELECT 1 FROM gold WHERE gold.triple_id = votes.triple_id
                   AND gold.is_training_item) AND item.votes_required = 0 AS is_training_item
    FROM votes JOIN batches ON batches.id = votes.batch_id
    JOIN batch_items AS item ON item.batch_id = votes.batch_id AND item.triple_id = votes.triple_id
    WHERE votes.key = :key AND votes.person_id = :person AND votes.withdrawn IS NULL
"""
_FIND_STANDING_VOTE = text(_STANDING_VOTE)
_LOCK_STANDING_VOTE = text(_STANDING_VOTE + " FOR UPDATE OF votes")
_WITHDRAW = text("UPDATE votes SET withdrawn = :now WHERE id = :id")
_BY_KEY = text("""
    SELECT votes.person_id, votes.batch_id, votes.triple_id, votes.decision,
           replaced.key AS replaced
    FROM votes LEFT JOIN votes AS replaced ON replaced.id = votes.replaces WHERE votes.key = :key
""")
_LOCK_PERSON = text("SELECT id FROM people WHERE id = :person FOR UPDATE")


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

    @property
    def needs_slot(self) -> bool:
        """Whether it counts among the votes that its triple requires; a skip does not."""
        return self.decision != "skip"


@dataclass(frozen=True, slots=True)
class StandingVote:
    """A person's vote that may be withdrawn, and the batch item it is about."""

    id: int
    batch_id: int
    batch: str
    triple: int
    position: int
    has_slot: bool
    is_gold: bool
    is_training_item: bool

    @property
    def slot(self) -> dict[str, int]:
        """Its batch item, as `annotator.labelling.leases` takes it."""
        return {"batch": self.batch_id, "position": self.position}


def store_vote(
    connection: Connection, holder: LeaseHolder, policy: BatchPolicy, triple: int, vote: VoteInput
) -> bool:
    """Store a vote in place of its lease; False if the same request was stored before.

    A vote without a live lease must satisfy what a new lease does. ConflictError, with the rule, if
    it does not, if the person has judged the triple, or if all slots are occupied.
    """
    lock_worker(connection, holder)
    row = _row(vote) | {"batch": policy.batch, "triple": triple, "person": holder.person}
    is_new, position, expires = _insert_and_end_lease(connection, row)
    if not is_new:
        _check_is_repeated(connection, row)
        return False
    if expires is None or expires < now():
        _check_may_vote(connection, holder, policy.batch)
        _check_is_qualified(connection, holder, policy, triple)
    if not leases.consume_lease(connection, row, position, needs_slot=vote.needs_slot):
        raise ConflictError("this triple already has all its votes; yours was not counted")
    _check_quota(connection, holder, policy.batch, vote)
    return True


def correct_vote(
    connection: Connection, holder: LeaseHolder, key: str, correction: VoteInput
) -> None:
    """Replace the person's vote `key`; no-op for a request that was stored before.

    ConflictError if a rule forbids it, or if the triple is adjudicated or gold.
    """
    lock_worker(connection, holder)
    earlier = connection.execute(_BY_KEY, {"key": correction.key}).first()
    if earlier is not None and (earlier.person_id, earlier.replaced) == (holder.person, key):
        return
    vote = _standing_vote(connection, holder, key)
    if vote.is_gold:
        # A correction after the feedback would say nothing about the person.
        raise ConflictError("this vote can no longer be changed")
    if correction.needs_slot and not vote.has_slot:
        _take_slot(connection, vote)
    if vote.has_slot and not correction.needs_slot:
        leases.release_slot(connection, vote.slot)
    withdraw(connection, vote.id)
    row = _row(correction) | {"batch": vote.batch_id, "person": holder.person}
    inserted = connection.execute(_INSERT_VOTE, row | {"triple": vote.triple, "replaces": vote.id})
    if not inserted.rowcount:
        raise ConflictError("this key belongs to another vote; nothing was changed")
    _check_quota(connection, holder, vote.batch_id, correction)


def undo_vote(connection: Connection, holder: LeaseHolder, key: str) -> StandingVote:
    """Withdraw the person's vote `key` and lease its item again; returns the vote.

    ConflictError if a rule forbids it, or if the person has seen feedback on the vote.
    """
    vote = _standing_vote(connection, holder, key)
    if vote.is_training_item:
        raise ConflictError("you have seen the feedback; this vote cannot be changed")
    # The vote's slot becomes the lease's; a skip has none.
    if not vote.has_slot and not vote.is_gold:
        _take_slot(connection, vote)
    withdraw(connection, vote.id)
    if not leases.add_lease(connection, vote.batch_id, vote.position, holder):
        leases.release_slot(connection, vote.slot)  # the lease they hold has its own
    return vote


def _standing_vote(connection: Connection, holder: LeaseHolder, key: str) -> StandingVote:
    """The person's vote `key`, locked until the transaction ends.

    ConflictError if it is withdrawn or adjudicated, or if the person may not vote in its batch.
    """
    is_postgresql = connection.dialect.name == "postgresql"
    query = _LOCK_STANDING_VOTE if is_postgresql else _FIND_STANDING_VOTE
    row = connection.execute(query, {"key": key, "person": holder.person}).first()
    if row is None:
        raise ConflictError("this vote does not exist or was already withdrawn")
    if row.adjudicated:
        raise ConflictError("a researcher has adjudicated this triple; your vote cannot be changed")
    _check_may_vote(connection, holder, row.batch_id)
    return StandingVote(
        id=row.id,
        batch_id=row.batch_id,
        batch=row.batch,
        triple=row.triple_id,
        position=row.position,
        has_slot=row.decision != "skip" and row.votes_required > 0,
        is_gold=not row.votes_required,
        is_training_item=bool(row.is_training_item),
    )


def withdraw(connection: Connection, vote_id: int) -> None:
    """Withdraw a vote; its slot is the caller's."""
    connection.execute(_WITHDRAW, {"id": vote_id, "now": now()})


def _take_slot(connection: Connection, vote: StandingVote) -> None:
    """Occupy a slot of a skipped item; ConflictError if none is left."""
    if not leases.take_slot(connection, vote.slot):
        raise ConflictError("this triple received all its votes after you skipped it")


def _check_may_vote(connection: Connection, holder: LeaseHolder, batch_id: int) -> None:
    """ConflictError unless batch and study are open, and the person is neither paused nor done."""
    state = leases.labelling_state(connection, holder, batch_id)
    if not state.batch_open:
        raise ConflictError("this batch is closed; your vote was not counted")
    if holder.study is not None and not state.study_open:
        raise ConflictError("this study is closed; your vote was not counted")
    if state.study_finished is not None:
        raise ConflictError("you have completed this study; your votes are final")
    if state.pause_reason is not None:
        raise ConflictError("you are paused in this batch", hint=state.pause_reason)


def lock_worker(connection: Connection, holder: LeaseHolder) -> None:
    """Let one transaction at a time count a crowd worker's votes against the quota."""
    if holder.quota is not None:
        lock_person(connection, holder.person)


def lock_person(connection: Connection, person: int) -> None:
    """Let other transactions wait that lock the person; SQLite has one writer at a time anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK_PERSON, {"person": person})


def _check_quota(
    connection: Connection, holder: LeaseHolder, batch_id: int, vote: VoteInput
) -> None:
    """ConflictError if the vote just stored exceeds the crowd worker's quota."""
    if holder.quota is None or not vote.needs_slot:
        return
    if leases.count_judged(connection, holder, batch_id) > holder.quota:
        raise ConflictError("you have reached the quota of this study; your vote was not counted")


def _check_is_qualified(
    connection: Connection, holder: LeaseHolder, policy: BatchPolicy, triple: int
) -> None:
    """ConflictError for work before the qualification round is over."""
    if leases.training_items_left(connection, holder, policy) and not leases.is_gold(
        connection, policy.batch, triple
    ):
        raise ConflictError("finish the qualification round first; your vote was not counted")


def _insert_and_end_lease(
    connection: Connection, row: Mapping[str, Any]
) -> tuple[bool, int | None, int | None]:
    """Store a vote: whether it is new, and position and expiry of the lease that it ended."""
    if connection.dialect.name == "postgresql":
        result = connection.execute(_INSERT_VOTE_AND_END_LEASE, row).one()
        return result.is_new, result.position, result.expires
    if not connection.execute(_INSERT_VOTE, row).rowcount:
        return False, None, None
    return True, *leases.end_lease(connection, row)


def _row(vote: VoteInput) -> dict[str, Any]:
    return {
        "key": vote.key,
        "decision": vote.decision,
        "reasons": "[" + ", ".join(f'"{reason}"' for reason in vote.reasons) + "]",
        "duration": vote.duration_ms,
        "guideline": vote.guideline,
        "replaces": None,
        "now": now(),
    }


def _check_is_repeated(connection: Connection, row: Mapping[str, Any]) -> None:
    """ConflictError unless the vote was not stored because the same request was stored before."""
    earlier = connection.execute(_BY_KEY, {"key": row["key"]}).first()
    if earlier is None:
        raise ConflictError("you have already judged this triple, or it is not in this batch")
    if earlier.person_id != row["person"]:
        raise ConflictError("this key belongs to another person's vote")
    same = (earlier.batch_id, earlier.triple_id, earlier.decision)
    if same != (row["batch"], row["triple"], row["decision"]):
        raise ConflictError("this key belongs to another vote of yours; this one was not stored")
