"""Error of labels on real votes with known answers: ours beside crowd-kit's, by votes per item.

Recognising textual entailment: 800 pairs of sentences with ten votes each by 164 people (Snow et
al. 2008, "Cheap and fast - but is it good?"). Votes are drawn at random, the same for all methods.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from crowdkit.aggregation import GLAD, DawidSkene, MajorityVote, OneCoinDawidSkene
from numpy.typing import NDArray
from table import SHARED_DATA, row

from annotator.labels import aggregation
from annotator.labels.aggregation import VoteTable
from annotator.labels.method_choice import choose_method
from annotator.labels.posterior import posterior

VOTES_PER_ITEM, SEEDS = (1, 2, 3, 10), 5
ACCEPT = 2
"""The label of the file that means "entailed"."""

Probabilities = NDArray[np.float64]


def read(folder: Path) -> tuple[VoteTable, NDArray[np.bool_]]:
    """All votes, and the true answers, shape (n_items,)."""
    crowd = np.loadtxt(folder / "crowd.txt", dtype=int)
    answers = dict(np.loadtxt(folder / "truth.txt", dtype=int).tolist())
    ids, item = np.unique(crowd[:, 0], return_inverse=True)
    people, person = np.unique(crowd[:, 1], return_inverse=True)
    truth = np.array([answers[int(id_)] == ACCEPT for id_ in ids])
    return VoteTable(item, person, crowd[:, 2] == ACCEPT, len(ids), len(people), {}), truth


def first_votes(votes: VoteTable, count: int, seed: int) -> VoteTable:
    """`count` votes of each item, at random."""
    order = np.random.default_rng(seed).permutation(len(votes.triple))
    order = order[np.argsort(votes.triple[order], kind="stable")]
    starts = np.searchsorted(votes.triple[order], votes.triple[order])
    kept = order[np.arange(len(order)) - starts < count]
    return VoteTable(
        votes.triple[kept],
        votes.person[kept],
        votes.accept[kept],
        votes.n_triples,
        votes.n_people,
        {},
    )


def auto(votes: VoteTable) -> Probabilities:
    """Our default: the labels that `lskd labels make` stores."""
    return posterior(votes, choose_method(votes)).accept


def crowd_kit(method: Callable[[], object]) -> Callable[[VoteTable], Probabilities]:
    """A method of crowd-kit, as a function of our table."""

    def aggregate(votes: VoteTable) -> Probabilities:
        label = np.where(votes.accept, "accept", "reject")  # GLAD takes booleans for masks
        frame = pd.DataFrame({"task": votes.triple, "worker": votes.person, "label": label})
        probabilities = method().fit_predict_proba(frame)  # type: ignore[attr-defined]
        return np.asarray(probabilities.reindex(range(votes.n_triples))["accept"].fillna(0.0))

    return aggregate


METHODS: Mapping[str, Callable[[VoteTable], Probabilities]] = {
    "auto (default)": auto,
    "majority": aggregation.majority,
    "dawid_skene (EM)": lambda votes: aggregation.dawid_skene(votes).accept,
    "one_coin (EM)": lambda votes: aggregation.one_coin(votes).accept,
    "crowd-kit MajorityVote": crowd_kit(MajorityVote),
    "crowd-kit DawidSkene": crowd_kit(lambda: DawidSkene(n_iter=100)),
    "crowd-kit OneCoinDawidSkene": crowd_kit(lambda: OneCoinDawidSkene(n_iter=100)),
    "crowd-kit GLAD": crowd_kit(lambda: GLAD(n_iter=100)),
}


def error(accept: Probabilities, truth: NDArray[np.bool_]) -> float:
    """Share of wrong labels; a tie is half wrong."""
    label = np.where(np.isclose(accept, 0.5), 0.5, accept > 0.5)
    return float(np.abs(label - truth).mean())


def main() -> None:
    """Print the error of each method."""
    if not (SHARED_DATA / "rte_votes").is_dir():
        row("error of labels on real votes", "no votes at LSKD_SHARED_DATA/rte_votes", "-")
        return
    votes, truth = read(SHARED_DATA / "rte_votes")
    for count in VOTES_PER_ITEM:
        samples = [first_votes(votes, count, seed) for seed in range(SEEDS)]
        majority = np.mean([error(aggregation.majority(sample), truth) for sample in samples])
        for name, method in METHODS.items():
            errors = [error(method(sample), truth) for sample in samples]
            row(
                f"textual entailment, {count} votes per item: label error of {name}",
                f"{np.mean(errors):.3f} ({min(errors):.3f} to {max(errors):.3f}, {SEEDS} draws)",
                f"majority {majority:.3f}",
            )


if __name__ == "__main__":
    main()
