"""Sherlock's comparison (Hessel et al. 2022): inferences about a region, ordered as people do.

Files: `val_comparison/` as on the leaderboard, and the images in `vcr1images/`, `VG_100K/` and
`VG_100K_2/`. The figure is the share of pairs in a person's order, 0 for chance, 100 for all.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regions.geometry import Region
from student.benchmarks.protocol import (
    Counts,
    Item,
    Question,
    Reading,
    Sums,
    document,
    first_of,
    picture,
    region,
)

name = "sherlock"
title = "Sherlock"
paper = ("Sherlock",)

_ASKED = "What can be inferred?"
_TIES = 1e-9


def items(folder: Path, reading: Reading) -> Iterator[Item]:
    """One an image with its region, with all inferences that two people have judged."""
    where = folder / "val_comparison"
    instances = document(first_of(where, ["val_comparison_instances.json"], title))
    key = document(first_of(where, ["val_comparison_answer_key.json"], title))
    told: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for one in instances:
        known = key["test_id_map"].get(one["test_id"])
        if known is None:
            reading.left_out["the answer key knows nothing of it"] += 1
            continue
        told[known["Input_iid"]][known["candidate"]] = one
    for annotation in key["annotations"]:
        inside = told[annotation["Input_iid"]]
        candidates = annotation["candidates"]
        if any(one["source_iid"] not in inside for one in candidates):
            reading.left_out["an inference is missing"] += 1
            continue
        known = inside[candidates[0]["source_iid"]]
        image = picture(_places(folder, known["image"]["url"]), "", reading)
        if image is None:
            continue
        regions = _regions(known)
        if not regions:
            reading.left_out["no region lies in its image"] += 1
            continue
        marks = " ".join(f"[{one.number}]" for one in regions)
        truth = [
            [float(one["annot1"]) for one in candidates],
            [float(one["annot2"]) for one in candidates],
        ]
        choices = tuple(inside[one["source_iid"]]["inference"] for one in candidates)
        asked = f"{_ASKED[:-1]} about {marks}?"
        yield Item(annotation["Input_iid"], image, regions, (Question(asked, choices, truth),))


def _places(folder: Path, url: str) -> list[Path]:
    """Where an image may lie: addresses end in `VG_100K/1.jpg`, or `vcr1images/FILM/STILL.jpg`."""
    parts = url.split("/")
    return [folder.joinpath(*parts[-depth:]) for depth in (2, 3)] + [
        folder / "vcr1images" / Path(*parts[-2:])
    ]


def _regions(known: dict[str, Any]) -> tuple[Region, ...]:
    size = int(known["image"]["width"]), int(known["image"]["height"])
    boxes = [
        [one["left"], one["top"], one["left"] + one["width"], one["top"] + one["height"]]
        for one in known["region"]
    ]
    found = (region(n, box, size) for n, box in enumerate(boxes))
    return tuple(one for one in found if one is not None)


def counts(item: Item, found: Sequence[Any]) -> Counts:
    """The mean over both people, as the leaderboard has it."""
    first, second = item.questions[0].truth
    agreement = (pairwise(found[0], first) + pairwise(found[0], second)) / 2
    return {"items": 1.0, "agreement": agreement}


def figures(sums: Sums) -> Sums:
    """The mean over images."""
    return {"comparison": 100 * sums["agreement"] / sums["items"]}


def pairwise(scores: Sequence[float], truth: Sequence[float]) -> float:
    """Share of unequal pairs that are in order, from -1 to 1; equal scores are drawn by lot.

    >>> pairwise([0.1, 0.7, 0.9], [1, 2, 2])
    1.0
    """
    # The lot is the official script's: numpy's first random numbers for the seed 1.
    lot = np.random.RandomState(1).random(max(10, len(scores)))
    drawn = np.asarray(scores, float) + lot[: len(scores)] * _TIES
    pairs = [
        (truth[a] < truth[b]) == (drawn[a] < drawn[b])
        for a in range(len(truth))
        for b in range(a + 1, len(truth))
        if truth[a] != truth[b]
    ]
    return float(2 * sum(pairs) / len(pairs) - 1) if pairs else 0.0
