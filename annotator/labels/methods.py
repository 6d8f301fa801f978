"""Label aggregation by the name of a method; see `annotator.labels.aggregation`."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from annotator.labels import aggregation
from annotator.labels.aggregation import Aggregation, Probabilities, VoteTable
from annotator.labels.method_choice import choose_method, held_out_log_likelihoods
from annotator.labels.settings import FixedMethod, Method

_FOLDS = 5


def aggregate(
    votes: VoteTable, method: FixedMethod, scores: Probabilities | None = None
) -> Aggregation:
    """Aggregate votes; `scores` of shape (n_triples,) are the priors of `with_critic`.

    People's rates are nan for `majority`, which estimates none.
    """
    match method:
        case "majority":
            unknown = np.full(votes.n_people, np.nan)
            return Aggregation(aggregation.majority(votes), unknown, unknown)
        case "weighted":
            return aggregation.weighted(votes)
        case "dawid_skene":
            return aggregation.dawid_skene(votes)
        case "one_coin":
            return aggregation.one_coin(votes)
        case "with_critic":
            no_scores = np.full(votes.n_triples, np.nan)
            return aggregation.with_critic(votes, no_scores if scores is None else scores)


def resolve(votes: VoteTable, method: Method) -> FixedMethod:
    """The method itself, or what `auto` chooses for these votes."""
    return choose_method(votes) if method == "auto" else method


def mean_log_likelihood(
    votes: VoteTable, method: FixedMethod, scores: Probabilities | None = None
) -> float | None:
    """Of held-out votes, each predicted from the others; None if none can be.

    The majority's model of votes has the same two rates for all people.
    """

    def fit(rest: VoteTable) -> Aggregation:
        if method == "majority":
            return aggregation.em(rest, "pooled")
        return aggregate(rest, method, scores)

    values = held_out_log_likelihoods(votes, fit)
    return float(values.mean()) if len(values) else None


def known_answers_recovered(
    votes: VoteTable, method: FixedMethod, scores: Probabilities | None = None
) -> NDArray[np.bool_]:
    """Whether each known answer equals its label from votes, shape (n_known,).

    The answers are withheld a fifth at a time, so that `weighted` learns people's accuracy from the
    others. A tie is wrong.
    """
    triples = np.array(sorted(votes.known), dtype=np.int64)
    fold = np.random.default_rng(0).permutation(len(triples)) % _FOLDS
    correct = np.zeros(len(triples), dtype=bool)
    for withheld in range(min(_FOLDS, len(triples))):
        known = {int(t): votes.known[int(t)] for t in triples[fold != withheld]}
        accept = aggregate(replace(votes, known=known), method, scores).accept
        for i in np.flatnonzero(fold == withheld):
            is_accepted = votes.known[int(triples[i])]
            correct[i] = accept[triples[i]] > 0.5 if is_accepted else accept[triples[i]] < 0.5  # noqa: PLR2004 - a tie
    return correct
