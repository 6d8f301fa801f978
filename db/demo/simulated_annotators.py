"""Simulated annotators, who vote from the demo's answer key with a stated accuracy.

They are named as simulated wherever they appear, take no place in a batch that a person could have,
and count only where somebody asked for simulated votes.
"""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from db.schema import REASONS, AnswerKey, Decision, Person, Reason, Vote
from db.store import keys, runs
from db.store.clock import now
from db.store.session import Store
from regions.errors import UserError

ACCURACIES = (0.9, 0.85, 0.8)
"""Three annotators unless others are asked for."""


def simulate_votes(store: Store, *, accuracies: Sequence[float], seed: int = 0) -> int:
    """Let one annotator for each accuracy vote on every keyed triple; how many votes are new.

    With the same arguments it changes nothing the second time.
    """
    if wrong := [accuracy for accuracy in accuracies if not 0 <= accuracy <= 1]:
        raise UserError(f"an accuracy of {wrong[0]} is no share", hint="use 0 to 1, such as 0.85")
    with store.write() as session:
        answers = session.execute(
            select(AnswerKey.triple_id, AnswerKey.flaw).order_by(AnswerKey.triple_id)
        ).all()
        flaws: dict[int, Reason | None] = dict(answers)
        if not flaws:
            raise UserError("no triple here has an answer key", hint="only the demo's triples do")
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
    """One simulated judgement: with probability `accuracy` what the key says, else the opposite."""
    right = rng.random() < accuracy
    if (flaw is None) == right:
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
    cast = []
    for triple_id, flaw in flaws.items():
        # Judged even when not needed, so that a triple's vote does not depend on who came before.
        decision, reasons = simulate_judgement(flaw, person.accuracy or 0.0, rng)
        if triple_id not in voted:
            cast.append(
                {
                    "key": keys.digest("simulated vote", person.name, triple_id),
                    "triple_id": triple_id,
                    "person_id": person.id,
                    "decision": decision,
                    "reasons": reasons,
                    "created": now(),
                }
            )
    return cast
