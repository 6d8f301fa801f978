"""A-OKVQA's multiple choice (Schwenk et al. 2022): four answers that take knowledge of the world.

Files: `aokvqa_v1p0_val.json` and COCO's `val2017/`. No region is pointed at.
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

name = "aokvqa"
title = "A-OKVQA"
paper = ("A-OKVQA",)
counts, figures = accuracy, share_right


def items(folder: Path, reading: Reading) -> Iterator[Item]:
    """One a question, also of those that are hard to answer without choices."""
    places = [folder / "val2017", folder / "images", folder]
    for one in document(first_of(folder, ["aokvqa_v1p0_val.json"], title)):
        image = picture(places, f"{int(one['image_id']):012}.jpg", reading)
        if image is None:
            continue
        if one.get("correct_choice_idx") is None:
            reading.left_out["no right choice is stated"] += 1
            continue
        question = Question(one["question"], tuple(one["choices"]), int(one["correct_choice_idx"]))
        yield Item(str(one["question_id"]), image, (), (question,))
