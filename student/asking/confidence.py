"""Confidence of an answer: Platt scaling of the student's own score of it.

On images the student was not trained on, answers of triples that people or the critic accept are
positives, and those of rejected triples negatives. A logistic regression on the student's scores
(Platt 1999) gives the probability that people would accept an answer.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from student.models.protocol import ImageExamples, Query, Student

CONFIDENCE_FILE = "confidence.json"
MIN_PER_CLASS = 6
"""Accepted and rejected triples each; with fewer there is no calibration."""
MIN_CONFIDENCE = 0.35
"""Below this a student abstains."""
_BATCH_SIZE = 16
_MAX_LOGIT = 50.0
_FORMER_NAMES = {"right": "n_accepted", "wrong": "n_rejected"}


@dataclass(frozen=True, slots=True)
class Confidence:
    """A fitted logistic regression, and the data it was fitted on."""

    slope: float
    intercept: float
    n_accepted: int
    n_rejected: int
    auroc: float

    @property
    def is_informative(self) -> bool:
        """Whether higher scores go with accepted answers at all."""
        return self.slope > 0

    def probability(self, score: float) -> float:
        """Return the probability that people would accept an answer with this score."""
        logit = self.slope * score + self.intercept
        return 1 / (1 + math.exp(-max(-_MAX_LOGIT, min(_MAX_LOGIT, logit))))

    def save(self, folder: Path) -> None:
        """Write `CONFIDENCE_FILE` into a student's folder."""
        (folder / CONFIDENCE_FILE).write_text(json.dumps(asdict(self)), "utf-8")

    @staticmethod
    def load(folder: Path) -> "Confidence | None":
        """Read what `save` wrote; None if the student was not calibrated."""
        try:
            stored = json.loads((folder / CONFIDENCE_FILE).read_text("utf-8"))
        except FileNotFoundError:
            return None
        return Confidence(**{_FORMER_NAMES.get(key, key): value for key, value in stored.items()})


def calibrate(
    student: Student, accepted: Sequence[ImageExamples], rejected: Sequence[ImageExamples]
) -> Confidence | None:
    """Fit the regression; None with fewer than `MIN_PER_CLASS` examples in a class.

    If the scores are not informative, every answer gets the share of accepted examples.
    """
    # Imported here: it takes seconds, and only training needs it.
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    positives, negatives = answer_scores(student, accepted), answer_scores(student, rejected)
    if min(len(positives), len(negatives)) < MIN_PER_CLASS:
        return None
    scores = np.array([*positives, *negatives])[:, None]
    is_accepted = np.array([True] * len(positives) + [False] * len(negatives))
    regression = LogisticRegression().fit(scores, is_accepted)
    slope, intercept = float(regression.coef_[0, 0]), float(regression.intercept_[0])
    if slope <= 0:
        slope, intercept = 0.0, math.log(len(positives) / len(negatives))
    return Confidence(
        slope,
        intercept,
        len(positives),
        len(negatives),
        float(roc_auc_score(is_accepted, scores[:, 0])),
    )


def answer_scores(student: Student, batch: Sequence[ImageExamples]) -> list[float]:
    """Return the student's score of each example's answer."""
    queries = [Query(group.view, e.question, e.turns) for group in batch for e in group.examples]
    answers = [[e.answer] for group in batch for e in group.examples]
    scores: list[float] = []
    for start in range(0, len(queries), _BATCH_SIZE):
        part = slice(start, start + _BATCH_SIZE)
        scores += [float(score) for (score,) in student.rank(queries[part], answers[part])]
    return scores
