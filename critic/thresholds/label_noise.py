"""Precision corrected for annotator error (Rogan and Gladen 1978).

If one vote in ten is wrong, a true precision of .90 is measured as .82. The error rate of votes is
measured on gold triples, or estimated from agreement between annotators where gold is scarce.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.schema import Gold, Vote
from db.store import queries

MIN_GOLD_VOTES = 30
"""Votes on gold of each decision that are needed to measure errors on gold."""
_MIN_PAIRS = 30
"""Pairs of votes that are needed to estimate errors from agreement."""


@dataclass(frozen=True, slots=True)
class VoteAccuracy:
    """Sensitivity and specificity of one vote, with accept as the positive class."""

    sensitivity: float
    specificity: float
    votes_per_triple: float
    """Mean number of votes per labelled triple."""
    measured_on: str

    def of_majority(self) -> tuple[float, float]:
        """Sensitivity and specificity of the majority vote, assuming independent errors."""
        votes = max(1, round(self.votes_per_triple))
        shares = []
        for accuracy in (self.sensitivity, self.specificity):
            correct = 1 - binom.cdf(votes // 2, votes, accuracy)
            ties = binom.pmf(votes / 2, votes, accuracy) if votes % 2 == 0 else 0.0
            # A tie is no label.
            shares.append(float(correct / (1 - ties)))
        return shares[0], shares[1]


def estimate_vote_accuracy(session: Session, *, simulated: bool) -> VoteAccuracy | None:
    """The accuracy of a vote; None where neither gold nor agreement can tell."""
    query = queries.standing_votes(Vote.triple_id, Vote.decision, simulated=simulated)
    votes = session.execute(query.where(Vote.decision != "skip")).all()
    if not votes:
        return None
    # Adjudicated triples are not used as gold here: they are those that people disagreed on.
    gold = session.execute(select(Gold.triple_id, Gold.decision))
    truth = {triple_id: decision == "accept" for triple_id, decision in gold}
    ids, triple = np.unique([row[0] for row in votes], return_inverse=True)
    accept = np.array([row[1] == "accept" for row in votes])
    votes_per_triple = len(votes) / len(ids)
    true_label = np.array([truth.get(int(i), -1) for i in ids])[triple]  # -1: not gold
    on_good, on_bad = accept[true_label == 1], ~accept[true_label == 0]
    if min(len(on_good), len(on_bad)) >= MIN_GOLD_VOTES:
        return VoteAccuracy(
            float(on_good.mean()),
            float(on_bad.mean()),
            votes_per_triple,
            f"on {len(on_good) + len(on_bad)} votes on gold",
        )
    return _accuracy_from_agreement(triple, accept, votes_per_triple)


def correct_precision(precision: float, accuracy: VoteAccuracy) -> float | None:
    """The share of kept triples that annotators without error would accept.

    `precision` is the measured share with the label accept. None if votes are uninformative.
    """
    sensitivity, specificity = accuracy.of_majority()
    informedness = sensitivity + specificity - 1
    if informedness <= 0:
        return None
    return float(np.clip((precision - (1 - specificity)) / informedness, 0.0, 1.0))


def _accuracy_from_agreement(
    triple: np.ndarray, accept: np.ndarray, votes_per_triple: float
) -> VoteAccuracy | None:
    """One accuracy for both decisions, from how often two votes on a triple agree."""
    votes, accepts = np.bincount(triple), np.bincount(triple, accept)
    rejects = votes - accepts
    pairs = votes * (votes - 1) / 2
    if pairs.sum() < _MIN_PAIRS:
        return None
    agreeing = accepts * (accepts - 1) / 2 + rejects * (rejects - 1) / 2
    agreement = float(agreeing.sum() / pairs.sum())
    if agreement <= 0.5:  # noqa: PLR2004 - chance
        return None
    # Two votes agree if both are correct or both are wrong: q^2 + (1 - q)^2 = agreement.
    accuracy = (1 + float(np.sqrt(2 * agreement - 1))) / 2
    source = f"by agreement of {int(pairs.sum())} pairs of votes"
    return VoteAccuracy(accuracy, accuracy, votes_per_triple, source)
