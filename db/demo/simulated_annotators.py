"""Simulated annotators, which vote by the demo's answer key with a given accuracy.

They are marked as simulated, use no slots of a batch, and count only where `--simulated` is set.
"""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from db.schema import REASONS, AnswerKey, Decision, Person, Reason, Vote
from db.store import keys, runs
from db.store.clock import now
from db.store.session import Store
from regions.errors import InvalidError, NotFoundError

DEFAULT_ACCURACIES = (0.9, 0.85, 0.8)
"""One annotator each."""


def simulate_votes(store: Store, *, accuracies: Sequence[float], seed: int = 0) -> int:
    """Vote on every triple that has a key, with one annotator per accuracy.

    Returns the number of new votes. Idempotent for the same arguments.
    """
    if invalid := [accuracy for accuracy in accuracies if not 0 <= accuracy <= 1]:
        raise InvalidError(f"accuracy must be between 0 and 1 (got {invalid[0]})")
    with store.write() as session:
        answers = session.execute(
            select(AnswerKey.triple_id, AnswerKey.flaw).order_by(AnswerKey.triple_id)
        ).all()
        flaws: dict[int, Reason | None] = dict(answers)
        if not flaws:
            raise NotFoundError("no triple has an answer key", hint="use the demo project")
        annotators = [
            _annotator(session, number, accuracy)
            for number, accuracy in enumerate(accuracies, start=1)
        ]
        new = [
            vote
            for number, annotator in enumerate(annotators)
            for vote in _votes(session, annotator, flaws, np.random.default_rng([seed, number]))
        ]
        if new:
            session.execute(insert(Vote), new)
            run = runs.start(
                session,
                "simulate",
                settings={"accuracies": list(accuracies)},
                seed=seed,
                simulated=True,
            )
            runs.finish(session, run.id, {"votes": len(new)})
    return len(new)


def simulate_judgement(
    flaw: Reason | None, accuracy: float, rng: np.random.Generator
) -> tuple[Decision, list[Reason]]:
    """Return the decision of the answer key with probability `accuracy`, else the opposite."""
    is_correct = rng.random() < accuracy
    if (flaw is None) == is_correct:
        return "accept", []
    return "reject", [flaw or REASONS[rng.integers(len(REASONS))]]


def _annotator(session: Session, number: int, accuracy: float) -> Person:
    name = f"simulated {number} (accuracy {accuracy:g})"
    person = session.scalar(select(Person).where(Person.name == name))
    if person is None:
        person = Person(
            name=name, role="annotator", simulated=True, accuracy=accuracy, created=now()
        )
        session.add(person)
        session.flush()
    return person


def _votes(
    session: Session,
    person: Person,
    flaws: dict[int, Reason | None],
    rng: np.random.Generator,
) -> list[dict[str, object]]:
    voted = set(session.scalars(select(Vote.triple_id).where(Vote.person_id == person.id)))
    votes = []
    for triple_id, flaw in flaws.items():
        # Drawn for triples with a vote too, so that each vote depends only on the seed.
        decision, reasons = simulate_judgement(flaw, person.accuracy or 0.0, rng)
        if triple_id not in voted:
            votes.append(
                {
                    "key": keys.digest("simulated vote", person.name, triple_id),
                    "triple_id": triple_id,
                    "person_id": person.id,
                    "decision": decision,
                    "reasons": reasons,
                    "created": now(),
                }
            )
    return votes
