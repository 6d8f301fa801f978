"""Label aggregation by the name of a method; see `annotator.labels.aggregation`."""

import numpy as np

from annotator.labels import aggregation
from annotator.labels.aggregation import Aggregation, Probabilities, VoteTable
from annotator.labels.method_choice import choose_method, held_out_log_likelihoods
from annotator.labels.settings import FixedMethod, Method


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
