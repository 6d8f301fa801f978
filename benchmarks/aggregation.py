"""Votes that each aggregation method and each labelling order needs, on a simulated crowd.

20,000 triples, 45 % acceptable. Of 40 annotators, 10 % answer at random and 25 %, 40 % and 25 %
have accuracies of 0.70, 0.82 and 0.92. Each triple has a critic's score. The numbers do not predict
those of real people; they compare methods within one run, on the same votes.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score
from table import row

from annotator.labels import aggregation
from annotator.labels.aggregation import VoteTable

TRIPLES, PEOPLE, MAX_VOTES, SEEDS = 20_000, 40, 9, 3
ACCURACIES = np.repeat([0.5, 0.7, 0.82, 0.92], [4, 10, 16, 10])
TARGET = 0.92
"""Accuracy of labels that each method must reach."""

F1_TARGET_SHARE = 0.98
"""Share of the F1 of a critic that is trained on the true answers."""

Bools = NDArray[np.bool_]


class World:
    """Triples with true answers, features, an earlier critic's scores, and votes."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.rng = rng
        self.truth = rng.random(TRIPLES) < 0.45
        self.features = rng.normal(size=(TRIPLES, 20)) + 0.28 * np.where(self.truth, 1, -1)[:, None]
        noise = rng.normal(size=TRIPLES)
        signal = np.where(self.truth, 0.75, -0.75) + noise
        self.scores = 1 / (1 + np.exp(-1.5 * signal + 0.2))
        # The people who would vote on each triple, in order, and their votes.
        self.voters = np.argsort(rng.random((TRIPLES, PEOPLE)), axis=1)[:, :MAX_VOTES]
        is_correct = rng.random((TRIPLES, MAX_VOTES)) < ACCURACIES[self.voters]
        self.accepts = np.where(is_correct, self.truth[:, None], ~self.truth[:, None])
        self.gold = set(rng.choice(TRIPLES, TRIPLES // 20, replace=False).tolist())

    def votes(self, counts: NDArray[np.int64], *, gold: bool = False) -> VoteTable:
        """The first `counts[i]` votes of triple i."""
        is_cast = np.arange(MAX_VOTES)[None, :] < counts[:, None]
        triple, rank = np.nonzero(is_cast)
        known = {i: bool(self.truth[i]) for i in self.gold} if gold else {}
        return VoteTable(
            triple,
            self.voters[triple, rank],
            self.accepts[triple, rank],
            TRIPLES,
            PEOPLE,
            known,
        )


def labels(world: World, method: str, counts: NDArray[np.int64]) -> Bools:
    """The labels of a method for the first `counts[i]` votes of triple i; ties are rejections."""
    if method == "majority":
        return aggregation.majority(world.votes(counts)) > 0.5
    if method == "weighted":
        return aggregation.weighted(world.votes(counts, gold=True)).accept > 0.5
    if method == "with_critic":
        return aggregation.with_critic(world.votes(counts), world.scores).accept > 0.5
    accept = getattr(aggregation, method)(world.votes(counts)).accept
    return np.asarray(accept > 0.5)


def needed(reached: list[float], target: float) -> float:
    """Votes per triple at which `reached` first attains the target, linearly interpolated."""
    for i, value in enumerate(reached):
        if value >= target:
            if i == 0:
                return 1.0
            return i + (target - reached[i - 1]) / (value - reached[i - 1])
    return float("inf")


def aggregations() -> None:
    """Print the votes per triple that each method needs for the target accuracy."""
    methods = ("majority", "weighted", "dawid_skene", "one_coin", "with_critic")
    results: dict[str, list[float]] = {method: [] for method in methods}
    precision = []
    for seed in range(SEEDS):
        world = World(seed)
        precision.append(average_precision_score(world.truth, world.scores))
        is_regular = np.array([i not in world.gold for i in range(TRIPLES)])
        for method in methods:
            reached = [
                float(
                    (labels(world, method, np.full(TRIPLES, n)) == world.truth)[is_regular].mean()
                )
                for n in range(1, MAX_VOTES + 1)
            ]
            results[method].append(needed(reached, TARGET))
    for method, values in results.items():
        suffix = {
            "weighted": ", with gold on 5 %",
            "with_critic": f", critic's average precision {np.mean(precision):.2f}",
        }.get(method, "")
        row(
            f"votes per triple until {TARGET:.0%} of labels are correct: {method}{suffix}",
            _span(values),
            "fewest is best",
        )


def orders() -> None:
    """Print the votes that each order needs for a critic nearly as good as on the true answers."""
    names = ("random", "uncertain", "disagreed", "mix")
    results: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(SEEDS):
        world = World(seed)
        half = TRIPLES // 2
        best = _f1(world, world.truth, np.arange(half))
        for name in names:
            results[name].append(_votes_until(world, name, half, F1_TARGET_SHARE * best))
    for name, values in results.items():
        row(
            f"votes until the critic has {F1_TARGET_SHARE:.0%} of its best F1: order {name}",
            _span(values, digits=0),
            "fewest is best",
        )


def _votes_until(world: World, order: str, half: int, target: float) -> float:
    """Simulate rounds of 200 triples with three votes each.

    The order `disagreed` takes two votes, and five where these differ.
    """
    rng = np.random.default_rng(7)
    uncertain = np.argsort(np.abs(world.scores[:half] - 0.5))
    shuffled = rng.permutation(half)
    counts = np.zeros(TRIPLES, dtype=int)
    if order == "mix":
        drawn = set(shuffled[: half // 5].tolist())
        ranked = [i for i in uncertain if i not in drawn]
        is_random = rng.random(half) < 0.2
        random_iter, ranked_iter = iter(shuffled[: half // 5]), iter(ranked)
        positions = [next(random_iter if r else ranked_iter, None) for r in is_random]
        sequence = np.array([p for p in positions if p is not None])
    else:
        sequence = uncertain if order == "uncertain" else shuffled
    for first in range(0, len(sequence), 200):
        batch = sequence[first : first + 200]
        counts[batch] = 2 if order == "disagreed" else 3
        if order == "disagreed":
            split = batch[world.accepts[batch, 0] != world.accepts[batch, 1]]
            counts[split] = 5
        accept = labels(world, "one_coin", counts)
        labelled = np.flatnonzero(counts[:half])
        if len(set(accept[labelled].tolist())) > 1 and _f1(world, accept, labelled) >= target:
            return float(counts.sum())
    return float(counts.sum())


def _f1(world: World, accept: Bools, train: NDArray[np.int64]) -> float:
    model = LogisticRegression(max_iter=200).fit(world.features[train], accept[train])
    test = slice(TRIPLES // 2, TRIPLES)
    return float(f1_score(world.truth[test], model.predict(world.features[test])))


def _span(values: list[float], digits: int = 2) -> str:
    low, mean, high = min(values), float(np.mean(values)), max(values)
    return f"{mean:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f}, {len(values)} seeds)"


if __name__ == "__main__":
    aggregations()
    orders()
