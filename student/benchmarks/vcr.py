"""VCR (Zellers et al. 2019): four answers to a question, four rationales for the right answer.

Files: `val.jsonl` and `vcr1images/`.
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
    LoadReport,
    Question,
    Sums,
    choice_index,
    find_file,
    read_json_lines,
    refer_to,
    text_from_tokens,
)
from student.benchmarks.vcr_images import load_still

name = "vcr"
title = "VCR"
paper_columns = ("VCR Q-A", "VCR QA-R", "VCR Q-AR")


def load_items(folder: Path, report: LoadReport) -> Iterator[Item]:
    """Yield one item per annotation, with the questions for the answer and for the rationale."""
    for record in read_json_lines(find_file(folder, ["val.jsonl"], title)):
        still = load_still(folder, record, report)
        if still is None:
            continue
        try:
            question = text_from_tokens(record["question"])
            answers = tuple(text_from_tokens(row) for row in record["answer_choices"])
            rationales = tuple(text_from_tokens(row) for row in record["rationale_choices"])
            labels = record["answer_label"], record["rationale_label"]
        except (KeyError, TypeError, ValueError):
            report.skipped["not in VCR's format, or without labels"] += 1
            continue
        if not refer_to((question, *answers, *rationales), still.regions, report):
            continue
        answer_label = choice_index(labels[0], answers, report)
        if answer_label is None:
            continue
        rationale_label = choice_index(labels[1], rationales, report)
        if rationale_label is None:
            continue
        mentioned = [references.mentioned(text) for text in (question, *answers, *rationales)]
        yield Item(
            str(record["annot_id"]),
            still.image,
            still.visible_regions(list(chain(*mentioned))),
            (
                Question(question, answers, answer_label),
                Question(f"{question} {answers[answer_label]} Why?", rationales, rationale_label),
            ),
        )


def count_item(item: Item, outputs: Sequence[Any]) -> Counts:
    """Count the right answer, the right rationale, and both, as in r2c's `eval_q2ar`."""
    answer, rationale = (
        int(np.argmax(scores)) == question.target
        for scores, question in zip(outputs, item.questions, strict=True)
    )
    return {
        "items": 1.0,
        "q_a": float(answer),
        "qa_r": float(rationale),
        "q_ar": float(answer and rationale),
    }


def figures(sums: Sums) -> Sums:
    """Return the accuracy of answers, of rationales, and of both together."""
    return {name: 100 * sums[name] / sums["items"] for name in ("q_a", "qa_r", "q_ar")}
