"""Visual7W's telling questions (Zhu et al. 2016): four answers, no region is pointed at.

Files: `dataset_v7w_telling.json` and `images/`; the test split.
"""

from collections.abc import Iterator
from pathlib import Path

from student.benchmarks.protocol import (
    Item,
    Question,
    Reading,
    accuracy,
    document,
    first_of,
    picture,
    share_right,
)

name = "visual7w"
title = "Visual7W"
paper = ("Visual7W",)
counts, figures = accuracy, share_right

_SPLIT = "test"


def items(folder: Path, reading: Reading) -> Iterator[Item]:
    """One a question; its id says where the right answer stands: not always at the same place."""
    told = document(first_of(folder, ["dataset_v7w_telling.json"], title))
    for one in told["images"]:
        if one["split"] != _SPLIT:
            continue
        image = picture([folder / "images", folder], one["filename"], reading)
        if image is None:
            continue
        for pair in one["qa_pairs"]:
            wrong = list(pair.get("multiple_choices", []))
            if len(wrong) < 1:
                reading.left_out["no wrong answers to choose from"] += 1
                continue
            place = int(pair["qa_id"]) % (len(wrong) + 1)
            choices = (*wrong[:place], pair["answer"], *wrong[place:])
            question = Question(pair["question"], choices, place)
            yield Item(str(pair["qa_id"]), image, (), (question,))
