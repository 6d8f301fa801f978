"""Posterior probabilities of labels with 95 % credible intervals.

Given people's rates, Bayes' rule states the probability that a triple is acceptable. The rates are
uncertain, so they are sampled from their posterior: by Gibbs sampling of the Bayesian Dawid-Skene
model (Kim and Ghahramani 2012), with the priors of `annotator.labels.aggregation`, started at the
estimate of EM. The label is the mean over samples and the interval their central 95 %: it narrows
with votes on the triple and with votes of its annotators. On simulated crowds it covers the
probability by the true rates; EM's rates with Beta errors cover it too seldom, because EM takes the
labels for certain.

`weighted` knows people's answers on gold, so that their rates need no sampling of labels.
`majority` has no model of people: its label is a share of votes, and the interval is Jeffreys' for
the share of all people who would accept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from annotator.labels.aggregation import (
    PRIOR_CORRECT,
    PRIOR_WRONG,
    Aggregation,
    Counts,
    Probabilities,
    VoteTable,
    count_on_known,
    prior_log_odds,
)
from annotator.labels.methods import aggregate
from annotator.labels.settings import FixedMethod
from db.labelling.labels import share_interval

BURN_IN, SAMPLES, MAX_THINNING = 100, 200, 5
_FAST_VOTES = 200_000
"""Votes that are swept over in a few milliseconds; fewer are swept over more often."""
_QUANTILES = 0.025, 0.975
_EPS = 1e-9
"""Bounds sampled rates away from 0 and 1."""
_CHUNK = 20_000
"""Triples whose samples are in memory at once."""


@dataclass(frozen=True)
class Posterior:
    """Probability of acceptance and its interval, shape (n_triples,); rates (n_people,).

    Known answers have 0 or 1 and no width. Rates are nan for `majority`.
    """

    accept: Probabilities
    low: Probabilities
    high: Probabilities
    sensitivity: Probabilities
    specificity: Probabilities

    @property
    def accuracy(self) -> Probabilities:
        """The mean of both rates of each person, shape (n_people,)."""
        return (self.sensitivity + self.specificity) / 2


@dataclass(frozen=True)
class _Sample:
    """The rates of each person, shape (n_people,), and the share of acceptable triples."""

    sensitivity: Probabilities
    specificity: Probabilities
    prevalence: float


class _Votes:
    """Votes in an order and with indices that make a sweep over them fast."""

    def __init__(self, votes: VoteTable, scores: Probabilities | None) -> None:
        order = np.argsort(votes.triple, kind="stable")
        self.n_triples, self.n_people = votes.n_triples, votes.n_people
        self._triple = votes.triple[order]
        self._vote = 2 * votes.person[order] + votes.accept[order]
        """Index of the person and their decision."""
        self._scores = scores
        self._known = np.array(sorted(votes.known), dtype=np.int64)
        self._answers = np.array([votes.known[t] for t in self._known.tolist()], dtype=float)

    @property
    def n_votes(self) -> int:
        """Number of votes."""
        return len(self._vote)

    def part(self, first: int, last: int) -> "_Votes":
        """The votes on a range of triples, which are numbered from 0."""
        part: _Votes = object.__new__(_Votes)
        rows = slice(*np.searchsorted(self._triple, [first, last]))
        known = slice(*np.searchsorted(self._known, [first, last]))
        part.n_triples, part.n_people = last - first, self.n_people
        part._triple, part._vote = self._triple[rows] - first, self._vote[rows]
        part._scores = None if self._scores is None else self._scores[first:last]
        part._known, part._answers = self._known[known] - first, self._answers[known]
        return part

    def count(self, labels: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Votes by person, decision and label, shape (n_people, 2, 2)."""
        cells = 2 * self._vote + labels[self._triple]
        return np.bincount(cells, minlength=4 * self.n_people).reshape(-1, 2, 2)

    def accept(self, sample: _Sample) -> Probabilities:
        """The probability of each triple by sampled rates, shape (n_triples,)."""
        sensitivity, specificity = sample.sensitivity, sample.specificity
        if_reject = np.log1p(-sensitivity) - np.log(specificity)
        if_accept = np.log(sensitivity) - np.log1p(-specificity)
        weights = np.column_stack([if_reject, if_accept]).ravel()[self._vote]
        prior = prior_log_odds(self.n_triples, sample.prevalence, self._scores)
        accept = expit(prior + np.bincount(self._triple, weights, self.n_triples))
        accept[self._known] = self._answers
        return np.asarray(accept)


def posterior(
    votes: VoteTable, method: FixedMethod, scores: Probabilities | None = None, *, seed: int = 0
) -> Posterior:
    """Labels with intervals; `scores` are the priors of `with_critic`."""
    fitted = aggregate(votes, method, scores)
    if method == "majority":
        return _of_shares(votes, fitted)
    rng = np.random.default_rng(seed)
    table = _Votes(votes, scores if method == "with_critic" else None)
    if method == "weighted":
        _, low, high = _summarize(table, _sample_rates_on_gold(votes, rng))
        accept = fitted.accept  # of balanced votes exactly 0.5
        sensitivity, specificity = fitted.sensitivity, fitted.specificity
    else:
        samples = _gibbs(table, fitted, rng, one_rate=method != "dawid_skene")
        accept, low, high = _summarize(table, samples)
        sensitivity = np.mean([sample.sensitivity for sample in samples], axis=0)
        specificity = np.mean([sample.specificity for sample in samples], axis=0)
    # The mean of few values near 0 and one near 1 lies above the quantile.
    low, high = np.minimum(low, accept), np.maximum(high, accept)
    return Posterior(accept, low, high, sensitivity, specificity)


def _of_shares(votes: VoteTable, fitted: Aggregation) -> Posterior:
    accepts = np.bincount(votes.triple, votes.accept, votes.n_triples).astype(int)
    total = np.bincount(votes.triple, minlength=votes.n_triples)
    bounds = np.array(
        [share_interval(k, n) for k, n in zip(accepts.tolist(), total.tolist(), strict=True)]
    )
    low, high = bounds.reshape(-1, 2).T.copy()
    for triple, known in votes.known.items():
        low[triple] = high[triple] = float(known)
    return Posterior(fitted.accept, low, high, fitted.sensitivity, fitted.specificity)


def _gibbs(
    votes: _Votes, start: Aggregation, rng: np.random.Generator, *, one_rate: bool
) -> list[_Sample]:
    """Sample rates and prevalence given labels, and labels given these, in turn."""
    samples = []
    labels = rng.random(votes.n_triples) < start.accept
    thinning = min(MAX_THINNING, 1 + _FAST_VOTES // max(1, votes.n_votes))
    for sweep in range(BURN_IN + SAMPLES * thinning):
        counts = votes.count(labels)
        correct_rejects, correct_accepts = counts[:, 0, 0], counts[:, 1, 1]
        unacceptable, acceptable = counts.sum(axis=1).T
        if one_rate:
            correct, judged = correct_rejects + correct_accepts, unacceptable + acceptable
            sensitivity = specificity = _draw_rates(correct, judged, rng)
        else:
            sensitivity = _draw_rates(correct_accepts, acceptable, rng)
            specificity = _draw_rates(correct_rejects, unacceptable, rng)
        accepted = int(labels.sum())
        prevalence = rng.beta(1 + accepted, 1 + len(labels) - accepted)
        sample = _Sample(sensitivity, specificity, float(np.clip(prevalence, _EPS, 1 - _EPS)))
        labels = rng.random(votes.n_triples) < votes.accept(sample)
        if sweep >= BURN_IN and (sweep - BURN_IN) % thinning == 0:
            samples.append(sample)
    return samples


def _sample_rates_on_gold(votes: VoteTable, rng: np.random.Generator) -> list[_Sample]:
    """Sample each person's accuracy, given their votes on triples with a known answer."""
    correct, judged = count_on_known(votes)
    accuracies = (_draw_rates(correct, judged, rng) for _ in range(SAMPLES))
    return [_Sample(accuracy, accuracy, 0.5) for accuracy in accuracies]


def _draw_rates(correct: Counts, judged: Counts, rng: np.random.Generator) -> Probabilities:
    rates = rng.beta(correct + PRIOR_CORRECT, judged - correct + PRIOR_WRONG)
    return np.clip(rates, _EPS, 1 - _EPS)


def _summarize(
    votes: _Votes, samples: Sequence[_Sample]
) -> tuple[Probabilities, Probabilities, Probabilities]:
    """Mean and bounds over samples, computed anew in chunks of triples to save memory."""
    summaries = []
    for first in range(0, votes.n_triples, _CHUNK):
        part = votes.part(first, min(first + _CHUNK, votes.n_triples))
        values = np.array([part.accept(sample) for sample in samples])
        low, high = np.quantile(values, _QUANTILES, axis=0)
        summaries.append((values.mean(axis=0), low, high))
    mean, low, high = (np.concatenate(parts) for parts in zip(*summaries, strict=True))
    return mean, low, high
