"""Choose between Dawid-Skene and the majority vote by how well held-out votes are predicted.

Dawid-Skene estimates two rates per person. With few votes these are noise, and on single votes they
are not identified: its labels are then worse than the majority's. So a part of the votes is held
out, and predicted once with people's own rates and once with the same rates for all people. Only if
their own rates predict better, beyond chance, do they improve labels.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from annotator.labels.aggregation import Aggregation, Probabilities, VoteTable, em

FOLDS = 5
MIN_Z = 2.0
"""Standard errors by which the mean log-likelihood of held-out votes must improve."""


def choose_method(votes: VoteTable, seed: int = 0) -> Literal["dawid_skene", "majority"]:
    """The method whose labels are expected to have fewer errors.

    >>> single = VoteTable(np.arange(9), np.arange(9) % 3, np.arange(9) % 2 == 0, 9, 3, {})
    >>> choose_method(single)  # nothing to learn about people from triples with one vote
    'majority'
    """
    return "dawid_skene" if _z(votes, seed) > MIN_Z else "majority"


def held_out_log_likelihoods(
    votes: VoteTable, fit: Callable[[VoteTable], Aggregation], seed: int = 0
) -> Probabilities:
    """Of the votes on triples that have others, each by what `fit` learns from the others.

    Votes are held out a fifth at a time, the same ones for the same seed. Shape (n,).
    """
    fold = np.random.default_rng(seed).integers(FOLDS, size=len(votes.triple))
    return np.concatenate([_log_likelihoods(votes, fold == k, fit) for k in range(FOLDS)])


def _z(votes: VoteTable, seed: int) -> float:
    """Gain in log-likelihood of held-out votes by rates per person, in standard errors."""
    gains = held_out_log_likelihoods(
        votes, lambda rest: em(rest, "two_per_person"), seed
    ) - held_out_log_likelihoods(votes, lambda rest: em(rest, "pooled"), seed)
    if len(gains) < 2:  # noqa: PLR2004 - no standard error
        return 0.0
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    return float(gains.mean() / error) if error > 0 else 0.0


def _log_likelihoods(
    votes: VoteTable, held_out: NDArray[np.bool_], fit: Callable[[VoteTable], Aggregation]
) -> Probabilities:
    """Of held-out votes on triples that have others, shape (n,), by what is fitted to those."""
    rest = replace(
        votes,
        triple=votes.triple[~held_out],
        person=votes.person[~held_out],
        accept=votes.accept[~held_out],
    )
    fitted = fit(rest)
    has_others = np.bincount(rest.triple, minlength=votes.n_triples)[votes.triple] > 0
    scored = held_out & has_others
    triple, person = votes.triple[scored], votes.person[scored]
    acceptable = fitted.accept[triple]
    accepts = acceptable * fitted.sensitivity[person] + (1 - acceptable) * (
        1 - fitted.specificity[person]
    )
    likelihood: Probabilities = np.where(votes.accept[scored], accepts, 1 - accepts)
    return np.log(likelihood)
