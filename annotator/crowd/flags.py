"""Flags: an annotator asks a researcher to look at a triple."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.schema import Flag, Triple
from db.store import queries
from db.store.clock import now
from regions.errors import InvalidError

MAX_NOTE_LENGTH = 2_000


def add_flag(session: Session, person_id: int, triple_id: int, note: str) -> None:
    """Flag a triple; the person's same note on it is stored once while the flag is open."""
    stripped = note.strip()
    if not stripped or len(stripped) > MAX_NOTE_LENGTH or "\0" in stripped:
        raise InvalidError(
            f"a flag needs a note of 1 to {MAX_NOTE_LENGTH:,} characters", hint="say what is wrong"
        )
    queries.by_id(session, Triple, triple_id)
    duplicate = select(Flag.id).where(
        Flag.triple_id == triple_id,
        Flag.person_id == person_id,
        Flag.note == stripped,
        Flag.resolved.is_(None),
    )
    if session.scalar(duplicate) is None:
        session.add(Flag(triple_id=triple_id, person_id=person_id, note=stripped, created=now()))
