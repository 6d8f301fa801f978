"""A project's own held-out triples as multiple choice; `held_out_export` writes the files.

Files: `choices.jsonl` and `images/`. Regions are pointed at by their numbers.
"""

from collections.abc import Iterator
from pathlib import Path

from regions.geometry import Region
from student.benchmarks.protocol import (
    Item,
    Question,
    Reading,
    accuracy,
    first_of,
    lines,
    picture,
    share_right,
)

name = "held-out"
title = "held-out triples"
paper: tuple[str, ...] = ()
counts, figures = accuracy, share_right
FILE, IMAGES = "choices.jsonl", "images"


def items(folder: Path, reading: Reading) -> Iterator[Item]:
    """One a triple."""
    for one in lines(first_of(folder, [FILE], title)):
        image = picture([folder / IMAGES], one["image"], reading)
        if image is None:
            continue
        regions = tuple(
            Region(
                int(region["number"]),
                tuple(region["box"]),
                tuple(tuple(map(tuple, outline)) for outline in region["polygons"]),
            )
            for region in one["regions"]
        )
        question = Question(one["question"], tuple(one["choices"]), int(one["right"]))
        yield Item(str(one["key"]), image, regions, (question,))
