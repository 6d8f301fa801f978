"""VCR (Zellers et al. 2019): four answers to a question, four rationales for the right answer.

Files: `val.jsonl` and `vcr1images/`. Q-AR is right where both are.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from regions import references
from student.benchmarks.protocol import (
    Counts,
    Item,
    Question,
    Reading,
    Sums,
    first_of,
    lines,
    worded,
)
from student.benchmarks.vcr_images import still

name = "vcr"
title = "VCR"
paper = ("VCR Q-A", "VCR QA-R", "VCR Q-AR")


def items(folder: Path, reading: Reading) -> Iterator[Item]:
    """One an annotation, with both its questions."""
    for record in lines(first_of(folder, ["val.jsonl"], title)):
        seen = still(folder, record, reading)
        if seen is None:
            continue
        known = list(seen.regions)
        try:
            question = worded(record["question"], known)
            answers = tuple(worded(one, known) for one in record["answer_choices"])
            reasons = tuple(worded(one, known) for one in record["rationale_choices"])
            right, why = int(record["answer_label"]), int(record["rationale_label"])
            given = answers[right]
        except (KeyError, TypeError, ValueError, IndexError):
            reading.left_out["not of VCR's form, or without labels"] += 1
            continue
        mentioned = [references.mentioned(text) for text in (question, *answers, *reasons)]
        yield Item(
            str(record["annot_id"]),
            seen.image,
            seen.shown(list(chain(*mentioned))),
            (
                Question(question, answers, right),
                Question(f"{question} {given} Why?", reasons, why),
            ),
        )


def counts(item: Item, found: Sequence[Any]) -> Counts:
    """As r2c's `eval_q2ar` counts."""
    right = [
        int(np.argmax(scores)) == question.truth
        for scores, question in zip(found, item.questions, strict=True)
    ]
    return {
        "items": 1.0,
        "answer": float(right[0]),
        "rationale": float(right[1]),
        "both": float(all(right)),
    }


def figures(sums: Sums) -> Sums:
    """Accuracy of answers, of rationales, and of both together."""
    return {
        "Q-A": 100 * sums["answer"] / sums["items"],
        "QA-R": 100 * sums["rationale"] / sums["items"],
        "Q-AR": 100 * sums["both"] / sums["items"],
    }
