"""A student's answers to a benchmark, one JSON line per item in the run's folder."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from db.store import json_lines
from student.benchmarks.protocol import Counts, Item
from student.results import RECORDS_FOLDER

_NOT_ERRORS = frozenset({"predicted_yes", "true_positives", "positives"})
"""Contributions that may be below 1 for a right answer."""
_FORMER_COUNTS = {
    "right": "correct",
    "answer": "q_a",
    "rationale": "qa_r",
    "both": "q_ar",
    "yes": "predicted_yes",
    "true yes": "true_positives",
    "truly": "positives",
}


@dataclass(frozen=True, slots=True)
class QuestionRecord:
    """A question, its choices and its target."""

    text: str
    choices: list[str]
    target: Any


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """An item, and a student's answer to it."""

    key: str
    image: str
    regions: list[list[float]]
    """Number, x1, y1, x2, y2 of each region, in pixels."""
    questions: list[QuestionRecord]
    outputs: list[Any]
    """Scores of the choices, or the generated text, of each question."""
    counts: Counts

    @classmethod
    def of(cls, item: Item, outputs: list[Any], counts: Counts) -> Self:
        """Return the record of an answered item."""
        return cls(
            item.key,
            str(item.image.absolute()),
            [[region.number, *region.box] for region in item.regions],
            [QuestionRecord(q.text, list(q.choices), q.target) for q in item.questions],
            outputs,
            counts,
        )

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """Return a row that `to_row` made, or that a former version wrote."""
        if "found" in row:
            row = row | {
                "questions": [
                    {"text": text, "choices": choices, "target": target}
                    for text, choices, target in row["questions"]
                ],
                "outputs": row["found"],
                "counts": {_FORMER_COUNTS.get(k, k): v for k, v in row["counts"].items()},
            }
        return cls(
            row["key"],
            row["image"],
            row["regions"],
            [QuestionRecord(**question) for question in row["questions"]],
            row["outputs"],
            row["counts"],
        )

    def to_row(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return asdict(self)

    @property
    def is_wrong(self) -> bool:
        """Whether the item contributes less than it could to a figure."""
        return any(value < 1 for name, value in self.counts.items() if name not in _NOT_ERRORS)

    def predictions(self) -> list[str]:
        """Return the chosen or generated text for each question."""
        return [
            output if isinstance(output, str) else question.choices[int(np.argmax(output))]
            for question, output in zip(self.questions, self.outputs, strict=True)
        ]


def records_file(run_folder: Path, benchmark: str) -> Path:
    """Return the file with a run's answers to a benchmark."""
    return run_folder / RECORDS_FOLDER / f"{benchmark}.jsonl"


def read_records(file: Path) -> list[ItemRecord]:
    """Return the records in a file; none if it does not exist."""
    return [ItemRecord.from_row(row) for row in json_lines.read_rows(file)]
