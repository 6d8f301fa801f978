"""Whether a model of item difficulty improves labels on real votes: GLAD, and two-parameter IRT.

GLAD is crowd-kit's (Whitehill et al. 2009). The two-parameter item response model (Birnbaum 1968)
is fitted by marginal maximum likelihood: triple i has a trait t_i ~ N(mu, 1), and person j accepts
it with probability sigmoid(a_j t_i + b_j); a triple is acceptable if t_i > 0, and hard if t_i is
near 0. Both are compared with Dawid-Skene, which knows no difficulty, by errors of labels and by
the log-likelihood of held-out votes.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from crowdkit.aggregation import GLAD
from explanations import read as read_explanations
from label_error import error, first_votes, read
from numpy.typing import NDArray
from scipy.special import expit
from table import SHARED_DATA, row

from annotator.labels import aggregation
from annotator.labels.aggregation import VoteTable

FOLDS, ITERATIONS, NEWTON_STEPS = 5, 60, 3
GLAD_VOTES = 3_000
"""crowd-kit's GLAD takes minutes with more votes."""
NODES = np.linspace(-3.0, 3.0, 21)
"""Values of the trait over which is integrated."""
PRIOR_SLOPE, SLOPE_PRECISION, INTERCEPT_PRECISION = 1.5, 4.0, 2.0

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Model:
    """Labels, and the probability that a person accepts a triple; arguments of shape (n,)."""

    accept: Probabilities
    predict: Callable[[NDArray[np.int64], NDArray[np.int64]], Probabilities]


def dawid_skene(votes: VoteTable) -> Model:
    """Two rates per person."""
    return _of_rates(aggregation.dawid_skene(votes))


def pooled(votes: VoteTable) -> Model:
    """The same two rates for all people."""
    return _of_rates(aggregation.em(votes, "pooled"))


def _of_rates(fitted: aggregation.Aggregation) -> Model:
    def predict(triple: NDArray[np.int64], person: NDArray[np.int64]) -> Probabilities:
        p = fitted.accept[triple]
        return p * fitted.sensitivity[person] + (1 - p) * (1 - fitted.specificity[person])

    return Model(fitted.accept, predict)


def two_parameter(votes: VoteTable) -> Model:
    """The item response model of the module, by EM with Newton steps."""
    slope, intercept, mean = np.full(votes.n_people, PRIOR_SLOPE), np.zeros(votes.n_people), 0.0
    trait = np.zeros((votes.n_triples, len(NODES)))
    for _ in range(ITERATIONS):
        logits = slope[:, None] * NODES + intercept[:, None]
        sign = np.where(votes.accept, 1.0, -1.0)[:, None]
        log = np.tile(-((NODES - mean) ** 2) / 2, (votes.n_triples, 1))
        np.add.at(log, votes.triple, -np.logaddexp(0, -sign * logits[votes.person]))
        trait = np.exp(log - log.max(axis=1, keepdims=True))
        trait /= trait.sum(axis=1, keepdims=True)
        mean = float((trait @ NODES).mean())
        judged, accepted = np.zeros_like(logits), np.zeros_like(logits)
        np.add.at(judged, votes.person, trait[votes.triple])
        np.add.at(accepted, votes.person, trait[votes.triple] * votes.accept[:, None])
        for _ in range(NEWTON_STEPS):
            p = expit(slope[:, None] * NODES + intercept[:, None])
            gradient, weight = accepted - judged * p, judged * p * (1 - p)
            d_slope = gradient @ NODES - (slope - PRIOR_SLOPE) * SLOPE_PRECISION
            d_intercept = gradient.sum(axis=1) - intercept * INTERCEPT_PRECISION
            h_slope = weight @ NODES**2 + SLOPE_PRECISION
            h_both, h_intercept = weight @ NODES, weight.sum(axis=1) + INTERCEPT_PRECISION
            determinant = h_slope * h_intercept - h_both**2
            step = (h_intercept * d_slope - h_both * d_intercept) / determinant
            slope = slope + np.clip(step, -0.5, 0.5)
            step = (h_slope * d_intercept - h_both * d_slope) / determinant
            intercept = intercept + np.clip(step, -0.5, 0.5)
    accept = trait[:, NODES > 0].sum(axis=1) + trait[:, np.isclose(NODES, 0)].sum(axis=1) / 2

    def predict(triple: NDArray[np.int64], person: NDArray[np.int64]) -> Probabilities:
        p = expit(slope[person][:, None] * NODES + intercept[person][:, None])
        return np.asarray((trait[triple] * p).sum(axis=1))

    return Model(accept, predict)


def glad(votes: VoteTable) -> Model:
    """crowd-kit's GLAD; people and items without votes are average."""
    label = np.where(votes.accept, "accept", "reject")
    frame = pd.DataFrame({"task": votes.triple, "worker": votes.person, "label": label})
    model = GLAD(n_iter=100)
    fitted = model.fit_predict_proba(frame).reindex(range(votes.n_triples))["accept"]
    accept = np.asarray(fitted.fillna(0.5))
    ability = np.asarray(model.alphas_.reindex(range(votes.n_people)).fillna(1.0))
    ease = np.exp(np.asarray(model.betas_.reindex(range(votes.n_triples)).fillna(0.0)))

    def predict(triple: NDArray[np.int64], person: NDArray[np.int64]) -> Probabilities:
        correct, p = expit(ability[person] * ease[triple]), accept[triple]
        return np.asarray(np.clip(p * correct + (1 - p) * (1 - correct), 1e-4, 1 - 1e-4))

    return Model(accept, predict)


METHODS: Mapping[str, Callable[[VoteTable], Model]] = {
    "pooled rates": pooled,
    "dawid_skene": dawid_skene,
    "two-parameter IRT": two_parameter,
    "crowd-kit GLAD": glad,
}


def held_out(votes: VoteTable, fit: Callable[[VoteTable], Model]) -> Probabilities:
    """Log-likelihood of each vote on an item with others, a fifth held out at a time."""
    fold = np.random.default_rng(0).integers(FOLDS, size=len(votes.triple))
    values = []
    for k in range(FOLDS):
        rest = fold != k
        others = VoteTable(
            votes.triple[rest],
            votes.person[rest],
            votes.accept[rest],
            votes.n_triples,
            votes.n_people,
            {},
        )
        has_others = np.bincount(others.triple, minlength=votes.n_triples)[votes.triple] > 0
        scored = ~rest & has_others
        p = fit(others).predict(votes.triple[scored], votes.person[scored])
        values.append(np.log(np.where(votes.accept[scored], p, 1 - p)))
    return np.concatenate(values)


def explanations() -> VoteTable:
    """Three votes each on the published explanations, by one unknown person."""
    folder = SHARED_DATA / "explanation_votes"
    items = read_explanations(folder / "commonsenseqa_train.csv")
    accept = np.array([item.votes for item in items])
    triple = np.repeat(np.arange(len(items)), accept.shape[1])
    return VoteTable(triple, np.zeros(accept.size, int), accept.ravel(), len(items), 1, {})


def main() -> None:
    """Print errors, log-likelihoods of held-out votes, and seconds for all six fits."""
    if not (SHARED_DATA / "rte_votes").is_dir():
        row("item difficulty on real votes", "no votes at LSKD_SHARED_DATA/rte_votes", "-")
        return
    votes, truth = read(SHARED_DATA / "rte_votes")
    tables = {
        f"textual entailment, {count} votes per item": first_votes(votes, count, 0)
        for count in (1, 2, 3, 10)
    }
    for name, table in [*tables.items(), ("explanations, 3 votes per item", explanations())]:
        for method, fit in METHODS.items():
            is_large = len(table.triple) > GLAD_VOTES
            if method == "crowd-kit GLAD" and is_large:
                row(f"{name}: {method}", "not measured, it takes minutes", "dawid_skene")
                continue
            measured = []
            start = time.perf_counter()
            if name in tables:
                measured.append(f"error {error(fit(table).accept, truth):.3f}")
            values = held_out(table, fit)
            if len(values):
                measured.append(f"held-out log-likelihood {values.mean():.4f}")
            measured.append(f"{time.perf_counter() - start:.1f} s")
            row(f"{name}: {method}", ", ".join(measured), "dawid_skene")


if __name__ == "__main__":
    main()
