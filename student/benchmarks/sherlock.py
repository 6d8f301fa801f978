"""Sherlock, comparison task (Hessel et al. 2022): rank inferences about a region as people do.

Files: `val_comparison/` as on the leaderboard, and the images in `vcr1images/`, `VG_100K/` and
`VG_100K_2/`. The figure is pairwise agreement with people: 0 for chance, 100 for all pairs.
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
    LoadReport,
    Question,
    Size,
    Sums,
    find_file,
    find_image,
    read_json,
    region_from_box,
    region_scale,
)

name = "sherlock"
title = "Sherlock"
paper_columns = ("Sherlock",)

_TIE_BREAK = 1e-9


def load_items(folder: Path, report: LoadReport) -> Iterator[Item]:
    """Yield one item per image and region, with all inferences that two people have rated."""
    files = folder / "val_comparison"
    instances = read_json(find_file(files, ["val_comparison_instances.json"], title))
    answer_key = read_json(find_file(files, ["val_comparison_answer_key.json"], title))
    by_source: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for instance in instances:
        test_id = answer_key["test_id_map"].get(instance["test_id"])
        if test_id is None:
            report.skipped["not in the answer key"] += 1
            continue
        by_source[test_id["Input_iid"]][test_id["candidate"]] = instance
    for annotation in answer_key["annotations"]:
        inferences = by_source[annotation["Input_iid"]]
        candidates = annotation["candidates"]
        if not candidates or any(
            candidate["source_iid"] not in inferences for candidate in candidates
        ):
            report.skipped["an inference is missing"] += 1
            continue
        instance = inferences[candidates[0]["source_iid"]]
        image = find_image(_image_paths(folder, instance["image"]["url"]), "", report)
        if image is None:
            continue
        size = int(instance["image"]["width"]), int(instance["image"]["height"])
        scale = region_scale(image, size, report)
        if scale is None:
            continue
        regions = _regions(instance, size, scale)
        if not regions:
            report.skipped["no region lies in its image"] += 1
            continue
        listed = " ".join(f"[{region.number}]" for region in regions)
        targets = [
            [float(candidate[person]) for candidate in candidates]
            for person in ("annot1", "annot2")
        ]
        if not np.isfinite(targets).all():
            report.skipped["a rating is not a number"] += 1
            continue
        choices = tuple(inferences[c["source_iid"]]["inference"] for c in candidates)
        question = Question(f"What can be inferred about {listed}?", choices, targets)
        yield Item(annotation["Input_iid"], image, regions, (question,))


def _image_paths(folder: Path, url: str) -> list[Path]:
    """Return possible paths: URLs end in `VG_100K/1.jpg`, or `vcr1images/FILM/STILL.jpg`."""
    parts = url.split("/")
    return [folder.joinpath(*parts[-depth:]) for depth in (2, 3)] + [
        folder / "vcr1images" / Path(*parts[-2:])
    ]


def _regions(
    instance: dict[str, Any], size: Size, scale: tuple[float, float]
) -> tuple[Region, ...]:
    boxes = [
        [box["left"], box["top"], box["left"] + box["width"], box["top"] + box["height"]]
        for box in instance["region"]
    ]
    regions = (region_from_box(n, box, size, scale) for n, box in enumerate(boxes))
    return tuple(region for region in regions if region is not None)


def count_item(item: Item, outputs: Sequence[Any]) -> Counts:
    """Return the mean agreement with the two people, as on the leaderboard."""
    first, second = item.questions[0].target
    agreement = (pairwise_agreement(outputs[0], first) + pairwise_agreement(outputs[0], second)) / 2
    return {"items": 1.0, "agreement": agreement}


def figures(sums: Sums) -> Sums:
    """Return the mean agreement over items."""
    return {"comparison": 100 * sums["agreement"] / sums["items"]}


def pairwise_agreement(scores: Sequence[float], ratings: Sequence[float]) -> float:
    """Return the agreement on pairs with unequal ratings, from -1 to 1.

    Ties of scores are broken at random.

    >>> pairwise_agreement([0.1, 0.7, 0.9], [1, 2, 2])
    1.0
    """
    # The random numbers are those of the official script: numpy's first for the seed 1.
    noise = np.random.RandomState(1).random(max(10, len(scores)))
    untied = np.asarray(scores, float) + noise[: len(scores)] * _TIE_BREAK
    agrees = [
        (ratings[a] < ratings[b]) == (untied[a] < untied[b])
        for a in range(len(ratings))
        for b in range(a + 1, len(ratings))
        if ratings[a] != ratings[b]
    ]
    return float(2 * sum(agrees) / len(agrees) - 1) if agrees else 0.0
