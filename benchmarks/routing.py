"""Votes until labels are as good: items by expected information, beside other orders.

Real votes are replayed: on textual entailment (see `label_error.py`) ten people have judged each of
800 items. People arrive in random order. Whoever arrives gets one of the items that they have
judged, and gives the vote that they gave. On the simulated crowd everybody may get every item; of
40 people 10 % answer at random, and 25, 40 and 25 % have sensitivities and specificities around
0.7, 0.82 and 0.92. Labels are those of the default method; ten votes are the most for an item.

`random` gives items with the fewest votes first, `disagreed` two votes each, then those on which
people disagree most, and `information` those on which this person's vote is expected to tell most,
by rates that are estimated anew every hundred votes. `information, 20 % random` chooses every
fifth item at random, as a batch with this random share does.
"""

from collections.abc import Callable, Mapping

import numpy as np
from label_error import auto, error, read
from numpy.typing import NDArray
from scipy.special import logit
from table import SHARED_DATA, row

from annotator.labels import aggregation
from annotator.labels.aggregation import VoteTable
from annotator.labels.routing import expected_information

CAP, REFRESH, SEEDS = 10, 100, 4
MARKS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
"""Votes per item at which labels are compared with the truth."""
ORDERS = ("random", "disagreed", "information", "information, 20 % random")
TARGET_VOTES = 5.0
"""The error of the random order with these votes is what the others are to reach."""


class Replay:
    """One order of items over the votes of `votes`, each of which can be cast once."""

    def __init__(self, votes: VoteTable, order: str, seed: int) -> None:
        self.votes, self.order = votes, order
        self.rng = np.random.default_rng(seed)
        self.left = [set(np.flatnonzero(votes.person == p).tolist()) for p in range(votes.n_people)]
        self.count = np.zeros(votes.n_triples, dtype=int)
        self.accepts = np.zeros(votes.n_triples, dtype=int)
        self.tie = self.rng.random(votes.n_triples)
        self.log_odds = np.zeros(votes.n_triples)
        self.sensitivity = np.full(votes.n_people, 0.8)
        self.specificity = np.full(votes.n_people, 0.8)
        self.cast: list[int] = []

    def table(self) -> VoteTable:
        """The votes cast so far."""
        v, cast = self.votes, np.array(self.cast)
        return VoteTable(
            v.triple[cast], v.person[cast], v.accept[cast], v.n_triples, v.n_people, {}
        )

    def step(self, person: int) -> None:
        """Give an item to the person who has arrived."""
        votes = [k for k in self.left[person] if self.count[self.votes.triple[k]] < CAP]
        if not votes:
            return
        chosen = votes[int(np.argmax(self._urgency(person, self.votes.triple[votes])))]
        self.left[person].discard(chosen)
        self.cast.append(chosen)
        item, accepts = self.votes.triple[chosen], self.votes.accept[chosen]
        self.count[item] += 1
        self.accepts[item] += accepts
        sensitivity, specificity = self.sensitivity[person], self.specificity[person]
        self.log_odds[item] += (
            np.log(sensitivity / (1 - specificity))
            if accepts
            else np.log((1 - sensitivity) / specificity)
        )
        if self.order.startswith("information") and len(self.cast) % REFRESH == 0:
            fitted = aggregation.dawid_skene(self.table())
            self.sensitivity, self.specificity = fitted.sensitivity, fitted.specificity
            self.log_odds = logit(np.clip(fitted.accept, 1e-6, 1 - 1e-6))

    def _urgency(self, person: int, items: NDArray[np.int64]) -> NDArray[np.float64]:
        count, tie = self.count[items], self.tie[items]
        at_random = self.order.endswith("random") and self.rng.random() < 1 / 5
        if self.order == "random" or at_random:
            return -count - tie
        if self.order == "disagreed":
            minority = np.minimum(self.accepts[items], count - self.accepts[items])
            share = 2 * minority / np.maximum(count, 1)
            return np.where(count < 2, 10.0 - count, share) - 1e-3 * tie
        information = expected_information(
            1 / (1 + np.exp(-self.log_odds[items])),
            float(self.sensitivity[person]),
            float(self.specificity[person]),
        )
        return information - 1e-9 * tie


def errors(votes: VoteTable, truth: NDArray[np.bool_], order: str, seed: int) -> list[float]:
    """The error of labels at each mark; nan where the votes do not suffice."""
    replay = Replay(votes, order, seed)
    found: list[float] = []
    for person in replay.rng.permutation(votes.person):
        replay.step(int(person))
        if len(replay.cast) >= MARKS[len(found)] * votes.n_triples:
            found.append(error(auto(replay.table()), truth))
            if len(found) == len(MARKS):
                break
    return found + [float("nan")] * (len(MARKS) - len(found))


def simulated(
    seed: int, n_items: int = 800, n_people: int = 40
) -> tuple[VoteTable, NDArray[np.bool_]]:
    """Votes of everybody on every item."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n_items) < 0.45
    level = np.repeat([0.5, 0.7, 0.82, 0.92], [4, 10, 16, 10])
    rates = np.clip(level + rng.normal(0, 0.06, (2, n_people)), 0.05, 0.98)
    item, person = (grid.ravel() for grid in np.indices((n_items, n_people)))
    p_accept = np.where(truth[item], rates[0][person], 1 - rates[1][person])
    return VoteTable(item, person, rng.random(len(item)) < p_accept, n_items, n_people, {}), truth


def needed(values: NDArray[np.float64], target: float) -> float:
    """Votes per item at which the error first is at most `target`, linearly interpolated."""
    for i, value in enumerate(values):
        if value <= target:
            if i == 0:
                return MARKS[0]
            share = (values[i - 1] - target) / (values[i - 1] - value)
            return MARKS[i - 1] + float(share) * (MARKS[i] - MARKS[i - 1])
    return float("nan")


def compare(name: str, draw: Callable[[int], tuple[VoteTable, NDArray[np.bool_]]]) -> None:
    """Print the error of each order by votes per item, and the votes to the same error."""
    means: Mapping[str, NDArray[np.float64]] = {
        order: np.mean([errors(*draw(seed), order, seed) for seed in range(SEEDS)], axis=0)
        for order in ORDERS
    }
    target = float(means["random"][MARKS.index(TARGET_VOTES)])
    for order, values in means.items():
        by_votes = ", ".join(f"{m:g}: {v:.3f}" for m, v in zip(MARKS, values, strict=True))
        row(
            f"{name}, order {order}: label error by votes per item",
            f"{by_votes}; error {target:.3f} at {needed(values, target):.1f} votes",
            f"random {TARGET_VOTES:g} votes",
        )


def main() -> None:
    """Print the rows of real and of simulated votes."""
    if (SHARED_DATA / "rte_votes").is_dir():
        real = read(SHARED_DATA / "rte_votes")
        compare("textual entailment, replayed", lambda _seed: real)
    else:
        row("routing on real votes", "no votes at LSKD_SHARED_DATA/rte_votes", "-")
    compare("simulated crowd", simulated)


if __name__ == "__main__":
    main()
