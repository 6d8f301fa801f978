"""POPE (Li et al. 2023): hallucination, as yes-no questions about objects.

Files: `coco_pope_random.json`, `coco_pope_popular.json`, `coco_pope_adversarial.json` (any of them)
and COCO's `val2014/`. Generated answers are parsed as by the official script; students that only
rank choose between yes and no.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regions.errors import InvalidError
from student.benchmarks.protocol import (
    Counts,
    Item,
    LoadReport,
    Question,
    Sums,
    find_file,
    find_image,
    read_json_lines,
)

name = "pope"
title = "POPE"
paper_columns = ()

SETTINGS = ("random", "popular", "adversarial")
"""How the objects that are not in the image were sampled."""
CHOICES = ("yes", "no")
_NEGATIONS = frozenset({"No", "not", "no"})


def load_items(folder: Path, report: LoadReport) -> Iterator[Item]:
    """Yield one item per question, of each setting whose file exists."""
    present = [s for s in SETTINGS if (folder / f"coco_pope_{s}.json").is_file()]
    if not present:
        find_file(folder, [f"coco_pope_{s}.json" for s in SETTINGS], title)
    folders = [folder / "val2014", folder / "images", folder]
    for setting in present:
        for row in read_json_lines(folder / f"coco_pope_{setting}.json"):
            if row.get("label") not in CHOICES:
                raise InvalidError(
                    f"unknown label {row.get('label')!r:.40}", where=f"coco_pope_{setting}.json"
                )
            image = find_image(folders, str(row["image"]), report)
            if image is None:
                continue
            question = Question(row["text"], CHOICES, CHOICES.index(row["label"]))
            key = f"{setting}-{row['question_id']}"
            yield Item(key, image, (), (question,), reads_text=True)


def parse_decision(output: Any) -> int:  # noqa: ANN401 - scores, or a text
    """0 for yes and 1 for no; a text means no if its first sentence contains a negation.

    >>> parse_decision("No, there is none. But yes."), parse_decision("There is one, not two")
    (1, 1)
    >>> parse_decision("Sure")
    0
    """
    if not isinstance(output, str):
        return int(np.argmax(output))
    words = output.split(".")[0].replace(",", "").split(" ")
    return int(not _NEGATIONS.isdisjoint(words))


def count_item(item: Item, outputs: Sequence[Any]) -> Counts:
    """Return the item's cell of the confusion matrix, where yes is positive."""
    predicted, actual = parse_decision(outputs[0]) == 0, item.questions[0].target == 0
    return {
        "items": 1.0,
        "predicted_yes": float(predicted),
        "correct": float(predicted == actual),
        "true_positives": float(predicted and actual),
        "positives": float(actual),
    }


def figures(sums: Sums) -> Sums:
    """Return the figures of the official script."""
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = sums["true_positives"] / sums["predicted_yes"]
        recall = sums["true_positives"] / sums["positives"]
        return {
            "accuracy": 100 * sums["correct"] / sums["items"],
            "precision": 100 * precision,
            "recall": 100 * recall,
            "f1": 100 * 2 * precision * recall / (precision + recall),
            "yes_ratio": 100 * sums["predicted_yes"] / sums["items"],
        }
