"""Precision with the annotators' own error taken out (Rogan and Gladen 1978).

Votes that err by chance make a true precision of .90 look like .82 where one vote in ten is wrong.
The error is measured on gold; with too little of that, by how often two people agree.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.schema import Gold, Person, Vote

LEAST_GOLD = 30
"""Votes on gold of each decision from which errors are measured there."""
_LEAST_PAIRS = 30


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often one vote is right about what should be accepted, and what should be rejected."""

    on_good: float
    on_bad: float
    votes: float
    """Votes a labelled triple, on average."""
    measured: str

    def of_labels(self) -> tuple[float, float]:
        """The same of the majority of so many votes, if people err by themselves."""
        count = max(1, round(self.votes))
        shares = []
        for right in (self.on_good, self.on_bad):
            wins = 1 - binom.cdf(count // 2, count, right)
            ties = binom.pmf(count / 2, count, right) if count % 2 == 0 else 0.0
            # A tie is no label.
            shares.append(float(wins / (1 - ties)))
        return shares[0], shares[1]


def accuracy(session: Session, *, simulated: bool) -> Accuracy | None:
    """How good a vote is, as measured; None where nothing measures it."""
    query = (
        select(Vote.triple_id, Vote.decision)
        .join(Person, Person.id == Vote.person_id)
        .where(Vote.withdrawn.is_(None), Vote.decision != "skip")
    )
    rows = session.execute(query if simulated else query.where(~Person.simulated)).all()
    if not rows:
        return None
    # What was adjudicated is no gold here: it is what people disagreed on.
    gold = session.execute(select(Gold.triple_id, Gold.decision))
    truth = {triple: said == "accept" for triple, said in gold}
    ids, triple = np.unique([row[0] for row in rows], return_inverse=True)
    accept = np.array([row[1] == "accept" for row in rows])
    each = len(rows) / len(ids)
    known_to_be = np.array([truth.get(int(i), -1) for i in ids])[triple]
    good, bad = accept[known_to_be == 1], ~accept[known_to_be == 0]
    if min(len(good), len(bad)) >= LEAST_GOLD:
        return Accuracy(
            float(good.mean()), float(bad.mean()), each, f"on {len(good) + len(bad)} votes on gold"
        )
    return _by_agreement(triple, accept, each)


def corrected(precision: float, accuracy: Accuracy) -> float | None:
    """The share of kept triples that people without error would accept; None if votes say nothing.

    `precision` is the share whose label is accept.
    """
    good, bad = accuracy.of_labels()
    informed = good + bad - 1
    if informed <= 0:
        return None
    return float(np.clip((precision - (1 - bad)) / informed, 0.0, 1.0))


def _by_agreement(triple: np.ndarray, accept: np.ndarray, each: float) -> Accuracy | None:
    """One accuracy for all, from how often two votes on a triple agree."""
    votes, yes = np.bincount(triple), np.bincount(triple, accept)
    pairs = votes * (votes - 1) / 2
    if pairs.sum() < _LEAST_PAIRS:
        return None
    agreeing = yes * (yes - 1) / 2 + (votes - yes) * (votes - yes - 1) / 2
    share = float(agreeing.sum() / pairs.sum())
    if share <= 0.5:  # noqa: PLR2004 - what coins do
        return None
    # Two votes agree if both are right or both are wrong: q^2 + (1 - q)^2.
    right = (1 + float(np.sqrt(2 * share - 1))) / 2
    return Accuracy(right, right, each, f"by agreement of {int(pairs.sum())} pairs of votes")
