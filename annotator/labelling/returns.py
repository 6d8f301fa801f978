"""Votes sent back: a researcher withdraws an annotator's votes and asks them again, with a note.

Each vote is kept as withdrawn. Its slot becomes a lease of its annotator, who sees the note with
the item; if they have not voted when the time is over, anybody may. Votes that must not change are
left out and counted with the reason.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from annotator.accounts.sessions import WORKER_PREFIX
from annotator.crowd import gold
from annotator.labelling import leases, votes
from db.schema import Decision
from db.store.clock import now
from db.store.session import Store
from regions.errors import ConflictError, InvalidError, NotFoundError

HOLD_DAYS = 7
MAX_NOTE_LENGTH = 2_000
_DAY_MS = 24 * 3_600_000

_PERSON = text("SELECT id, name, active, simulated FROM people WHERE name = :name")
_BATCH = text("SELECT id, open, fast_ms FROM batches WHERE name = :name")
# The study whose votes these are: the last one that the worker joined before they voted.
_VOTES = """
    SELECT votes.id, votes.triple_id, votes.decision, votes.duration_ms,
           item.position, item.votes_required,
           EXISTS (SELECT 1 FROM adjudications AS last WHERE last.triple_id = votes.triple_id
                   AND last.withdrawn IS NULL) AS adjudicated,
           (SELECT joined.finished FROM study_sessions AS joined
            JOIN studies ON studies.id = joined.study_id AND studies.batch_id = votes.batch_id
            WHERE joined.person_id = votes.person_id AND joined.created <= votes.created
            ORDER BY joined.created DESC LIMIT 1) AS study_finished
    FROM votes
    JOIN batch_items AS item ON item.batch_id = votes.batch_id AND item.triple_id = votes.triple_id
    WHERE votes.batch_id = :batch AND votes.person_id = :person AND votes.withdrawn IS NULL
    ORDER BY votes.id
"""
_FIND_VOTES = text(_VOTES)
_LOCK_VOTES = text(_VOTES + " FOR UPDATE OF votes")
_OPEN_STUDY = text("""
    SELECT studies.id FROM studies JOIN study_sessions AS joined ON joined.study_id = studies.id
    WHERE studies.batch_id = :batch AND joined.person_id = :person AND studies.open
      AND joined.finished IS NULL
""")
_REMEMBER = text(
    "INSERT INTO returned_votes (vote_id, note, returned_by, created)"
    " VALUES (:id, :note, :by, :now)"
)


_COMPLETE = "skips whose triple has all its votes"


@dataclass(frozen=True, slots=True)
class VoteSelection:
    """Which of an annotator's votes in a batch: those that meet all conditions."""

    triples: Collection[int] = ()
    """Empty: votes on any triple."""
    decision: Decision | None = None
    too_fast: bool = False
    """Only votes faster than the batch's `fast_ms`."""

    def matches(self, vote: Any, fast_ms: int) -> bool:  # noqa: ANN401 - a row
        """Whether a vote meets the conditions."""
        return (
            (not self.triples or vote.triple_id in self.triples)
            and self.decision in {None, vote.decision}
            and (not self.too_fast or (vote.duration_ms is not None and vote.duration_ms < fast_ms))
        )


@dataclass(frozen=True, slots=True)
class ReturnResult:
    """How many votes were sent back, and how many were not, by reason."""

    returned_votes: int
    left_out: Mapping[str, int] = field(default_factory=dict)


def send_back(
    store: Store,
    batch: str,
    person: str,
    note: str,
    *,
    selection: VoteSelection | None = None,
    returned_by: int | None = None,
    days: int = HOLD_DAYS,
) -> ReturnResult:
    """Withdraw an annotator's votes in a batch and lease their items to them for some days.

    ConflictError if the annotator cannot vote in the batch; NotFoundError if no vote matches.
    """
    note = note.strip()
    if not note or len(note) > MAX_NOTE_LENGTH or not note.replace("\n", " ").isprintable():
        raise InvalidError(
            f"a note needs 1 to {MAX_NOTE_LENGTH:,} characters", hint="say what to look at again"
        )
    if days < 1:
        raise InvalidError(f"votes must be held for at least a day (got {days})")
    selection = selection or VoteSelection()
    until = now() + days * _DAY_MS

    def job(connection: Connection) -> ReturnResult:
        batch_id, fast_ms = _open_batch(connection, batch)
        person_id, is_worker = _active_person(connection, person, batch_id)
        key = {"batch": batch_id, "person": person_id}
        if is_worker:  # the quota is counted while nobody else counts it
            votes.lock_person(connection, person_id)
        is_postgresql = connection.dialect.name == "postgresql"
        rows = connection.execute(_LOCK_VOTES if is_postgresql else _FIND_VOTES, key).all()
        rows = [row for row in rows if selection.matches(row, fast_ms)]
        if not rows:
            raise NotFoundError(f"no such votes of {person} in this batch", where=batch)
        has_open_study = not is_worker or connection.execute(_OPEN_STUDY, key).first() is not None
        left_out: Counter[str] = Counter()
        for row in rows:
            reason = _reason_to_keep(row, is_worker=is_worker, has_open_study=has_open_study)
            if reason is None and row.decision == "skip":
                slot = {"batch": batch_id, "position": row.position}
                reason = None if leases.take_slot(connection, slot) else _COMPLETE
            if reason is not None:
                left_out[reason] += 1
                continue
            _return(connection, row, key, note=note, until=until, by=returned_by)
        return ReturnResult(len(rows) - left_out.total(), dict(left_out.most_common()))

    return store.group_commit(job)


def _open_batch(connection: Connection, name: str) -> tuple[int, int]:
    """The id of a batch and the time below which its votes are too fast."""
    row = connection.execute(_BATCH, {"name": name}).first()
    if row is None:
        raise NotFoundError(f"no batch named {name[:100]!r}", hint="see `lskd batch list`")
    if not row.open:
        raise ConflictError("this batch is closed", where=name, hint="open it first")
    return row.id, row.fast_ms


def _active_person(connection: Connection, name: str, batch_id: int) -> tuple[int, bool]:
    """The id of a person who may vote in a batch, and whether they are a crowd worker."""
    row = connection.execute(_PERSON, {"name": name}).first()
    if row is None:
        raise NotFoundError(f"no account named {name[:100]!r}", hint="see `lskd users list`")
    if row.simulated or not row.active:
        state = "simulated" if row.simulated else "closed"
        raise ConflictError(f"this account is {state}: it cannot vote again", where=name)
    if reason := gold.pause_reason(connection, row.id, batch_id):
        hint = f"lift the pause first ({reason})"
        raise ConflictError("this person is paused in the batch", where=name, hint=hint)
    return row.id, row.name.startswith(WORKER_PREFIX)


def _reason_to_keep(row: Any, *, is_worker: bool, has_open_study: bool) -> str | None:  # noqa: ANN401 - a row
    if row.adjudicated:
        return "adjudicated"
    if not row.votes_required:
        return "gold"  # asked again, it would say nothing about the person
    if row.study_finished is not None:
        return "paid for: the worker has finished the study"
    if is_worker and row.decision == "skip":
        return "skips of crowd workers"  # asked again, they might exceed the quota
    if not has_open_study:
        return "of a closed study"
    return None


def _return(
    connection: Connection,
    row: Any,  # noqa: ANN401 - a row
    key: Mapping[str, Any],
    *,
    note: str,
    until: int,
    by: int | None,
) -> None:
    slot = {"batch": key["batch"], "position": row.position}
    votes.withdraw(connection, row.id)
    connection.execute(_REMEMBER, {"id": row.id, "note": note, "by": by, "now": now()})
    if not leases.hold(connection, slot, key["person"], until=until, note=note):
        leases.release_slot(connection, slot)  # the lease they hold has its own
