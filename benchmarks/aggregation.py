"""A simulated crowd of mixed accuracy: votes that each aggregation and each order need.

20,000 triples, 45 % acceptable. Of 40 annotators 10 % answer at random, 25 % are right in 70 % of
cases, 40 % in 82 %, 25 % in 92 %. A critic's score stands beside each triple. Nothing is a number
of real people; what counts is the comparison, in one run, over the same votes.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score
from table import row

from annotator.labels import aggregation
from annotator.labels.aggregation import VoteTable

TRIPLES, PEOPLE, MOST, SEEDS = 20_000, 40, 9, 3
ACCURACIES = np.repeat([0.5, 0.7, 0.82, 0.92], [4, 10, 16, 10])
TARGET = 0.92
"""Accuracy of labels that each method is to reach."""

F1_TARGET_SHARE = 0.98
"""Of the F1 that the critic has when every label is right."""

Bools = NDArray[np.bool_]


class World:
    """Triples with their truth, features, an earlier critic's scores, and everybody's votes."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.rng = rng
        self.truth = rng.random(TRIPLES) < 0.45
        self.features = rng.normal(size=(TRIPLES, 20)) + 0.28 * np.where(self.truth, 1, -1)[:, None]
        noise = rng.normal(size=TRIPLES)
        signal = np.where(self.truth, 0.75, -0.75) + noise
        self.scores = 1 / (1 + np.exp(-1.5 * signal + 0.2))
        # The people who would vote on each triple, in order, and what they would say.
        self.who = np.argsort(rng.random((TRIPLES, PEOPLE)), axis=1)[:, :MOST]
        right = rng.random((TRIPLES, MOST)) < ACCURACIES[self.who]
        self.says = np.where(right, self.truth[:, None], ~self.truth[:, None])
        self.gold = set(rng.choice(TRIPLES, TRIPLES // 20, replace=False).tolist())

    def votes(self, counts: NDArray[np.int64], *, gold: bool = False) -> VoteTable:
        """The first `counts[i]` votes of triple i."""
        taken = np.arange(MOST)[None, :] < counts[:, None]
        triple, place = np.nonzero(taken)
        truth = {i: bool(self.truth[i]) for i in self.gold} if gold else {}
        return VoteTable(
            triple,
            self.who[triple, place],
            self.says[triple, place],
            TRIPLES,
            PEOPLE,
            truth,
        )


def labels(world: World, method: str, counts: NDArray[np.int64]) -> Bools:
    """What a method makes of these votes; ties fall to rejection."""
    if method == "majority":
        return aggregation.majority(world.votes(counts)) > 0.5
    if method == "weighted":
        return aggregation.weighted(world.votes(counts, gold=True)).accept > 0.5
    if method == "with_critic":
        return aggregation.with_critic(world.votes(counts), world.scores).accept > 0.5
    found = getattr(aggregation, method)(world.votes(counts)).accept
    return np.asarray(found > 0.5)


def needed(reached: list[float], target: float) -> float:
    """Votes for each triple at which the target is reached, between two by a straight line."""
    for i, value in enumerate(reached):
        if value >= target:
            if i == 0:
                return 1.0
            return i + (target - reached[i - 1]) / (value - reached[i - 1])
    return float("inf")


def aggregations() -> None:
    """Votes for each triple until labels are right often enough."""
    methods = ("majority", "weighted", "dawid_skene", "one_coin", "with_critic")
    found: dict[str, list[float]] = {method: [] for method in methods}
    precision = []
    for seed in range(SEEDS):
        world = World(seed)
        precision.append(average_precision_score(world.truth, world.scores))
        rest = np.array([i not in world.gold for i in range(TRIPLES)])
        for method in methods:
            reached = [
                float((labels(world, method, np.full(TRIPLES, n)) == world.truth)[rest].mean())
                for n in range(1, MOST + 1)
            ]
            found[method].append(needed(reached, TARGET))
    for method, values in found.items():
        beside = {
            "weighted": ", with gold on 5 %",
            "with_critic": f", critic's average precision {np.mean(precision):.2f}",
        }.get(method, "")
        row(
            f"votes a triple until {TARGET:.0%} of labels are right: {method}{beside}",
            _span(values),
            "fewest is best",
        )


def orders() -> None:
    """Votes until a critic trained on the labels is nearly as good as on the truth."""
    names = ("random", "uncertain", "disagreed", "mix")
    found: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(SEEDS):
        world = World(seed)
        half = TRIPLES // 2
        best = _f1(world, world.truth, np.arange(half))
        for name in names:
            found[name].append(_votes_until(world, name, half, F1_TARGET_SHARE * best))
    for name, values in found.items():
        row(
            f"votes until the critic has {F1_TARGET_SHARE:.0%} of its best F1: order {name}",
            _span(values, digits=0),
            "fewest is best",
        )


def _votes_until(world: World, order: str, half: int, target: float) -> float:
    """Votes come in rounds of 200 triples: three each, or two, and five where those are split."""
    rng = np.random.default_rng(7)
    uncertain = np.argsort(np.abs(world.scores[:half] - 0.5))
    shuffled = rng.permutation(half)
    counts = np.zeros(TRIPLES, dtype=int)
    if order == "mix":
        chance = set(shuffled[: half // 5].tolist())
        rest = [i for i in uncertain if i not in chance]
        coins = rng.random(half) < 0.2
        lots, ranked = iter(shuffled[: half // 5]), iter(rest)
        places = [next(lots if coin else ranked, None) for coin in coins]
        sequence = np.array([p for p in places if p is not None])
    else:
        sequence = uncertain if order == "uncertain" else shuffled
    for first in range(0, len(sequence), 200):
        some = sequence[first : first + 200]
        counts[some] = 2 if order == "disagreed" else 3
        if order == "disagreed":
            split = some[world.says[some, 0] != world.says[some, 1]]
            counts[split] = 5
        accept = labels(world, "one_coin", counts)
        seen = np.flatnonzero(counts[:half])
        if len(set(accept[seen].tolist())) > 1 and _f1(world, accept, seen) >= target:
            return float(counts.sum())
    return float(counts.sum())


def _f1(world: World, accept: Bools, seen: NDArray[np.int64]) -> float:
    model = LogisticRegression(max_iter=200).fit(world.features[seen], accept[seen])
    held = slice(TRIPLES // 2, TRIPLES)
    return float(f1_score(world.truth[held], model.predict(world.features[held])))


def _span(values: list[float], digits: int = 2) -> str:
    low, mean, high = min(values), float(np.mean(values)), max(values)
    return f"{mean:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f}, {len(values)} seeds)"


if __name__ == "__main__":
    aggregations()
    orders()
