"""Store imported votes about stored triples; a vote that is already stored stays as it is."""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.formats.rows import RowRejection
from db.formats.vote_rows import TripleVote
from db.schema import Person, Triple, Vote
from db.store import keys
from db.store.clock import now
from db.transfer.driver_sql import batched, insert_new


class VoteWriter:
    """Stores the votes of one import run, and counts the new ones."""

    def __init__(self) -> None:
        self._new = 0

    def new_counts(self) -> dict[str, int]:
        """Return how many records of each kind are new."""
        return {"votes": self._new}

    def write(self, session: Session, votes: Sequence[TripleVote]) -> list[RowRejection]:
        """Store what is new; return rejections of votes that contradict the store.

        These are about unknown triples, differ from a vote of the same person in the store, or are
        simulated under the name of somebody who is not, or the reverse.
        """
        triples = triple_ids(session, {vote.triple for vote in votes})
        people = _people(session, votes)
        standing = _standing_votes(session, {person.id for person in people.values()}, triples)
        rejections: list[RowRejection] = []
        new: list[tuple[Any, ...]] = []
        for vote in votes:
            ids, person = triples.get(vote.triple, set()), people[vote.annotator]
            if len(ids) != 1:
                rejections.append(unknown_triple(vote.line, vote.triple, ids))
                continue
            if person.simulated != vote.simulated:
                reason = f"{person.name:.60} is {'' if person.simulated else 'not '}simulated"
                rejections.append(RowRejection(vote.line, "simulated", reason))
                continue
            (triple_id,) = ids
            earlier = standing.setdefault((triple_id, person.id), vote.decision)
            if earlier != vote.decision:
                reason = f"{person.name:.60} has decided {earlier} on this triple"
                rejections.append(RowRejection(vote.line, "decision", reason))
                continue
            new.append(_values(vote, triple_id, person))
        columns = "key", "triple_id", "person_id", "decision", "reasons", "duration_ms", "created"
        self._new += insert_new(session, "votes", columns, new)
        return rejections


def _values(vote: TripleVote, triple_id: int, person: Person) -> tuple[Any, ...]:
    return (
        keys.digest("imported vote", person.name, triple_id),
        triple_id,
        person.id,
        vote.decision,
        json.dumps(vote.reasons),
        vote.duration_ms,
        now() if vote.created is None else vote.created,
    )


def triple_ids(session: Session, names: Iterable[str]) -> dict[str, set[int]]:
    """Return the ids of triples by key, or by their id in the file they were imported from."""
    ids: dict[str, set[int]] = {}
    for column in (Triple.key, Triple.external_id):
        for chunk in batched(sorted(names)):
            for name, triple_id in session.execute(
                select(column, Triple.id).where(column.in_(chunk))
            ):
                ids.setdefault(name, set()).add(triple_id)
    return ids


def unknown_triple(line: int, name: str, ids: Collection[int]) -> RowRejection:
    """Return the rejection of a row whose triple has no id, or several."""
    problem = "several triples have this id" if ids else "no such triple"
    return RowRejection(line, "triple", f"{problem}: {name:.60}")


def _people(session: Session, votes: Sequence[TripleVote]) -> dict[str, Person]:
    """Return the people who voted by name; new ones are added."""
    first = {vote.annotator: vote for vote in reversed(votes)}
    people: dict[str, Person] = {}
    for chunk in batched(list(first)):
        rows = session.scalars(select(Person).where(Person.name.in_(chunk)))
        people.update((person.name, person) for person in rows)
    for name in first.keys() - people.keys():
        people[name] = Person(
            name=name,
            role="annotator",
            simulated=first[name].simulated,
            anonymous=first[name].anonymous,
            created=now(),
        )
        session.add(people[name])
    session.flush()
    return people


def _standing_votes(
    session: Session, people: Iterable[int], triples: dict[str, set[int]]
) -> dict[tuple[int, int], str]:
    """Return decisions by triple and person."""
    triple_ids = sorted(set().union(*triples.values()))
    votes: dict[tuple[int, int], str] = {}
    for chunk in batched(triple_ids):
        query = select(Vote.triple_id, Vote.person_id, Vote.decision).where(
            Vote.withdrawn.is_(None), Vote.triple_id.in_(chunk), Vote.person_id.in_(list(people))
        )
        votes.update(
            ((triple, person), decision) for triple, person, decision in session.execute(query)
        )
    return votes
