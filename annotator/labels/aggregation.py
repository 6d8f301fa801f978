"""Label aggregation: the probability that a triple is acceptable, from votes, by five methods.

These are point estimates; `annotator.labels.posterior` adds the uncertainty of people's rates.
`annotator.labels.method_choice` chooses between `dawid_skene` and `majority`, which is the default.
`benchmarks/aggregation.py` measures all methods on simulated votes, `benchmarks/label_error.py` on
real ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Probabilities = NDArray[np.float64]
Indices = NDArray[np.int64]
Counts = NDArray[np.float64] | NDArray[np.int64]

MAX_ITER = 200
TOL = 1e-6
"""EM stops when no probability changes by more."""

PRIOR_CORRECT, PRIOR_WRONG = 4.0, 1.0
"""Beta prior of each person's accuracy, as pseudo-counts: most people are mostly right."""

TIE = 0.5
_TIE_WIDTH = 1e-6

EPS = 1e-6
"""Bounds the prevalence away from 0 and 1."""

Rates = Literal["two_per_person", "one_per_person", "pooled"]
"""What EM estimates: a sensitivity and a specificity per person, one accuracy per person, or one
sensitivity and one specificity for all people together."""


@dataclass(frozen=True)
class VoteTable:
    """Votes of `n_people` people on `n_triples` triples.

    `triple`, `person` and `accept` have shape (n_votes,). `known` are triples with a known answer.
    """

    triple: Indices
    person: Indices
    accept: NDArray[np.bool_]
    n_triples: int
    n_people: int
    known: Mapping[int, bool]


@dataclass(frozen=True)
class Aggregation:
    """Probability of acceptance, shape (n_triples,), and each person's rates, shape (n_people,)."""

    accept: Probabilities
    sensitivity: Probabilities
    """Probability of accepting an acceptable triple."""
    specificity: Probabilities
    """Probability of rejecting an unacceptable triple."""

    @property
    def accuracy(self) -> Probabilities:
        """The mean of both rates of each person, shape (n_people,)."""
        return (self.sensitivity + self.specificity) / 2


def has_label(accept: Probabilities) -> NDArray[np.bool_]:
    """Which probabilities are a label; 0.5 is a tie, and nan none. Any shape."""
    return np.isfinite(accept) & (np.abs(accept - TIE) >= _TIE_WIDTH)


def majority(votes: VoteTable) -> Probabilities:
    """The share of acceptances, shape (n_triples,); 0.5 on a tie and without votes."""
    accepts = np.bincount(votes.triple, votes.accept, votes.n_triples)
    total = np.bincount(votes.triple, minlength=votes.n_triples)
    return _with_known(np.where(total > 0, accepts / np.maximum(total, 1), 0.5), votes)


def weighted(votes: VoteTable) -> Aggregation:
    """Votes weighted by the log-odds of each person's accuracy on triples with a known answer.

    Without such triples all people have the same weight.
    """
    correct, judged = count_on_known(votes)
    accuracy = _posterior_mean(correct, judged)
    accept = posterior_given_rates(votes, np.zeros(votes.n_triples), accuracy, accuracy)
    return Aggregation(accept, accuracy, accuracy)


def dawid_skene(votes: VoteTable) -> Aggregation:
    """EM with a sensitivity and a specificity per person (Dawid and Skene 1979)."""
    return em(votes, "two_per_person")


def one_coin(votes: VoteTable) -> Aggregation:
    """As `dawid_skene`, with one accuracy per person, which fewer votes suffice to estimate."""
    return em(votes, "one_per_person")


def with_critic(votes: VoteTable, scores: Probabilities) -> Aggregation:
    """As `one_coin`, with a critic's scores as the prior of each triple.

    `scores` has shape (n_triples,); where it is nan the prevalence is the prior.
    """
    return em(votes, "one_per_person", scores)


def em(votes: VoteTable, rates: Rates, scores: Probabilities | None = None) -> Aggregation:
    """Expectation maximisation from the majority vote; see `with_critic` for `scores`."""
    accept = majority(votes)
    sensitivity = specificity = np.full(votes.n_people, 0.5)
    for _ in range(MAX_ITER):
        # M step: each person's rates, given the probabilities of the triples.
        p = accept[votes.triple]
        true_accepts = np.bincount(votes.person, p * votes.accept, votes.n_people)
        acceptable = np.bincount(votes.person, p, votes.n_people)
        true_rejects = np.bincount(votes.person, (1 - p) * ~votes.accept, votes.n_people)
        unacceptable = np.bincount(votes.person, 1 - p, votes.n_people)
        if rates == "one_per_person":
            correct, judged = true_accepts + true_rejects, acceptable + unacceptable
            sensitivity = specificity = _posterior_mean(correct, judged)
        elif rates == "two_per_person":
            sensitivity = _posterior_mean(true_accepts, acceptable)
            specificity = _posterior_mean(true_rejects, unacceptable)
        else:
            everyone = np.ones(votes.n_people)
            sensitivity = _posterior_mean(everyone * true_accepts.sum(), acceptable.sum())
            specificity = _posterior_mean(everyone * true_rejects.sum(), unacceptable.sum())
        # E step: the probabilities of the triples, given each person's rates.
        prevalence = float(np.clip(accept.mean(), EPS, 1 - EPS)) if len(accept) else 0.5
        prior = prior_log_odds(votes.n_triples, prevalence, scores)
        updated = posterior_given_rates(votes, prior, sensitivity, specificity)
        change = float(np.abs(updated - accept).max(initial=0.0))
        accept = updated
        if change < TOL:
            break
    return Aggregation(accept, sensitivity, specificity)


def count_on_known(votes: VoteTable) -> tuple[Counts, Counts]:
    """Each person's correct votes and all votes on triples with a known answer."""
    is_known = np.array([t in votes.known for t in votes.triple], dtype=bool)
    known = np.array([votes.known.get(int(t), False) for t in votes.triple], dtype=bool)
    is_correct = (votes.accept == known)[is_known]
    correct = np.bincount(votes.person[is_known], is_correct, votes.n_people)
    return correct, np.bincount(votes.person[is_known], minlength=votes.n_people)


def prior_log_odds(
    n_triples: int, prevalence: float, scores: Probabilities | None
) -> Probabilities:
    """The prior of each triple: its score if it has one, else the prevalence."""
    prior = np.full(n_triples, prevalence)
    if scores is not None:
        prior = np.where(np.isfinite(scores), np.clip(scores, 0.01, 0.99), prevalence)
    return np.asarray(logit(prior))


def _posterior_mean(correct: Counts, judged: Counts | np.float64) -> Probabilities:
    """Mean of the Beta posterior of an accuracy."""
    return (correct + PRIOR_CORRECT) / (judged + PRIOR_CORRECT + PRIOR_WRONG)


def posterior_given_rates(
    votes: VoteTable,
    prior_log_odds: Probabilities,
    sensitivity: Probabilities,
    specificity: Probabilities,
) -> Probabilities:
    """Bayes' rule in log-odds; `prior_log_odds` has shape (n_triples,)."""
    person = votes.person
    if_accept = np.log(sensitivity[person]) - np.log1p(-specificity[person])
    if_reject = np.log1p(-sensitivity[person]) - np.log(specificity[person])
    weights = np.where(votes.accept, if_accept, if_reject)
    log_odds = prior_log_odds + np.bincount(votes.triple, weights, votes.n_triples)
    return _with_known(expit(log_odds), votes)


def _with_known(accept: Probabilities, votes: VoteTable) -> Probabilities:
    """Set the probabilities of triples with a known answer, in place."""
    for triple, known in votes.known.items():
        accept[triple] = float(known)
    return accept
