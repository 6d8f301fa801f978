"""The store's votes as arrays, for label aggregation."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.labels.aggregation import Probabilities, VoteTable
from db.labelling.labels import known_judgements
from db.schema import Decision, Person, Reason, Score, Vote
from db.store import queries
from regions.errors import ConflictError


class VoteRow(NamedTuple):
    """A standing vote."""

    triple_id: int
    person_id: int
    decision: Decision
    reasons: list[Reason]


def fetch_votes(session: Session, *, simulated: bool) -> list[VoteRow]:
    """Standing votes other than skips, by triple and person; ConflictError without any.

    Unknown people of one label file count as one person: nobody is known to have voted twice.
    """
    columns = Vote.triple_id, Vote.person_id, Vote.decision, Vote.reasons
    query = (
        queries.standing_votes(*columns, simulated=simulated)
        .where(Vote.decision != "skip")
        .order_by(Vote.triple_id, Vote.person_id)
    )
    pooled = _unknown_people(session)
    rows = [
        VoteRow(triple, pooled.get(person, person), decision, reasons)
        for triple, person, decision, reasons in session.execute(query)
    ]
    if not rows:
        raise ConflictError("there are no votes to aggregate", hint="label some triples first")
    return rows


def vote_table(
    rows: Sequence[VoteRow], known: Mapping[int, bool]
) -> tuple[VoteTable, list[int], list[int]]:
    """Votes with triples and people as indices, and the ids of triples and people by index."""
    triple_ids, triple = np.unique([row.triple_id for row in rows], return_inverse=True)
    person_ids, person = np.unique([row.person_id for row in rows], return_inverse=True)
    index = {int(id_): i for i, id_ in enumerate(triple_ids)}
    votes = VoteTable(
        triple,
        person,
        np.array([row.decision == "accept" for row in rows], dtype=bool),
        len(triple_ids),
        len(person_ids),
        {index[id_]: accept for id_, accept in known.items() if id_ in index},
    )
    return votes, triple_ids.tolist(), person_ids.tolist()


def known_answers(session: Session) -> dict[int, bool]:
    """Whether triples that are adjudicated or gold are acceptable, by id."""
    judgements = known_judgements(session).items()
    return {triple: decision == "accept" for triple, (decision, _) in judgements}


def critic_scores(session: Session, run_id: int, triple_ids: Sequence[int]) -> Probabilities:
    """A critic's scores, nan where it has none, shape (len(triple_ids),)."""
    query = select(Score.triple_id, Score.value).where(Score.run_id == run_id)
    scores = dict(session.execute(query).all())
    return np.array([scores.get(id_, np.nan) for id_ in triple_ids], dtype=float)


def _unknown_people(session: Session) -> dict[int, int]:
    """Return the first unknown person of the same label file by the id of each."""
    first: dict[str, int] = {}
    pooled: dict[int, int] = {}
    query = select(Person.id, Person.name).where(Person.anonymous).order_by(Person.id)
    for person_id, name in session.execute(query):
        label_file = name.rpartition(" worker ")[0] or name
        pooled[person_id] = first.setdefault(label_file, person_id)
    return pooled
