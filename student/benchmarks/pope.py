"""POPE (Li et al. 2023): whether an object is there that is not: hallucination.

Files: `coco_pope_random.json`, `coco_pope_popular.json`, `coco_pope_adversarial.json` (any of them)
and COCO's `val2014/`. A student that writes is read as the official script reads it; one that ranks
chooses between yes and no.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regions.errors import UserError
from student.benchmarks.protocol import (
    Counts,
    Item,
    Question,
    Reading,
    Sums,
    first_of,
    lines,
    picture,
)

name = "pope"
title = "POPE"
paper = ()

KINDS = ("random", "popular", "adversarial")
_NO = frozenset({"No", "not", "no"})
CHOICES = ("yes", "no")


def items(folder: Path, reading: Reading) -> Iterator[Item]:
    """One a question of each kind whose file is there."""
    there = [kind for kind in KINDS if (folder / f"coco_pope_{kind}.json").is_file()]
    if not there:
        first_of(folder, [f"coco_pope_{kind}.json" for kind in KINDS], title)
    places = [folder / "val2014", folder / "images", folder]
    for kind in there:
        for one in lines(folder / f"coco_pope_{kind}.json"):
            if one.get("label") not in CHOICES:
                raise UserError(f"a label {one.get('label')!r:.40}", where=f"coco_pope_{kind}.json")
            image = picture(places, str(one["image"]), reading)
            if image is None:
                continue
            truth = CHOICES.index(one["label"])
            question = Question(one["text"], CHOICES, truth)
            key = f"{kind}-{one['question_id']}"
            yield Item(key, image, (), (question,), written=True)


def decision(found: Any) -> int:  # noqa: ANN401 - scores, or a text
    """0 for yes and 1 for no; a text says no where its first sentence does.

    >>> decision("No, there is none. But yes."), decision("There is one, not two"), decision("Sure")
    (1, 1, 0)
    """
    if not isinstance(found, str):
        return int(np.argmax(found))
    words = found.split(".")[0].replace(",", "").split(" ")
    return int(not _NO.isdisjoint(words))


def counts(item: Item, found: Sequence[Any]) -> Counts:
    """True and false, yes and no."""
    said, true = decision(found[0]) == 0, item.questions[0].truth == 0
    return {
        "items": 1.0,
        "yes": float(said),
        "right": float(said == true),
        "true yes": float(said and true),
        "truly": float(true),
    }


def figures(sums: Sums) -> Sums:
    """As the official script prints them."""
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = sums["true yes"] / sums["yes"]
        recall = sums["true yes"] / sums["truly"]
        return {
            "accuracy": 100 * sums["right"] / sums["items"],
            "precision": 100 * precision,
            "recall": 100 * recall,
            "F1": 100 * 2 * precision * recall / (precision + recall),
            "yes ratio": 100 * sums["yes"] / sums["items"],
        }
