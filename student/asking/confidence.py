"""How sure a student may be: its own score of an answer, calibrated on what people would reject.

On images that it has not learned from, a release's triples are right and those that people or the
critic reject are wrong: a logistic regression (Platt 1999) turns the score of an answer into the
chance that it is one of the former.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.labelling.labels import majority_labels
from db.schema import Part, Release, ReleaseTriple, Score, Split, Triple
from student.models.protocol import Ask, Scene, Student

FILE = "confidence.json"
LEAST = 6
"""Of right and of wrong triples each: with fewer nothing is said."""
_MOST = 500
UNSURE = 0.35
"""Below this a student says that it cannot tell."""
_TOGETHER = 16


@dataclass(frozen=True, slots=True)
class Confidence:
    """The regression, and what it was made from."""

    slope: float
    intercept: float
    right: int
    wrong: int
    auroc: float

    @property
    def tells(self) -> bool:
        """Whether a higher score makes an answer likelier to be accepted at all."""
        return self.slope > 0

    def of(self, score: float) -> float:
        """The chance that people would accept an answer of this score."""
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, self.slope * score + self.intercept))))

    def save(self, folder: Path) -> None:
        """Beside the student."""
        (folder / FILE).write_text(json.dumps(asdict(self)), "utf-8")

    @staticmethod
    def load(folder: Path) -> "Confidence | None":
        """What `save` wrote; None where nothing could be calibrated."""
        try:
            return Confidence(**json.loads((folder / FILE).read_text("utf-8")))
        except FileNotFoundError:
            return None


def sides(session: Session, release: Release, part: Part) -> tuple[list[int], list[int]]:
    """Triples on the images of a part that are right, and those that are wrong.

    What most people say of a triple counts before what the release's critic does.
    """
    here = (
        select(Triple.id).join(Split, Split.image_id == Triple.image_id).where(Split.part == part)
    )
    kept = set(
        session.scalars(
            select(ReleaseTriple.triple_id).where(
                ReleaseTriple.release_id == release.id, ReleaseTriple.triple_id.in_(here)
            )
        )
    )
    scored = set(
        session.scalars(
            select(Score.triple_id).where(
                Score.run_id == release.run_id,
                Score.triple_id.in_(here),
                Score.value < release.threshold,
            )
        )
    )
    said = majority_labels(session, simulated=release.simulated, triple_ids=here)
    right = (kept | {i for i, one in said.items() if one.accept}) - {
        i for i, one in said.items() if not one.accept
    }
    wrong = (scored | {i for i, one in said.items() if not one.accept}) - right
    return sorted(right), sorted(wrong)


def some(ids: Sequence[int], rng: np.random.Generator) -> list[int]:
    """At most as many as are worth the time."""
    return sorted(int(i) for i in rng.permutation(np.array(ids, np.int64))[:_MOST])


def calibrated(
    student: Student, right: Sequence[Scene], wrong: Sequence[Scene]
) -> Confidence | None:
    """A student's confidence, from what is right and wrong; None where there is too little."""
    good, bad = scores(student, right), scores(student, wrong)
    if min(len(good), len(bad)) < LEAST:
        return None
    values = np.array([*good, *bad])[:, None]
    truth = np.array([True] * len(good) + [False] * len(bad))
    fitted = LogisticRegression().fit(values, truth)
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope <= 0:  # its score says nothing: then every answer is as likely as any
        slope, intercept = 0.0, math.log(len(good) / len(bad))
    return Confidence(
        slope,
        intercept,
        len(good),
        len(bad),
        float(roc_auc_score(truth, values[:, 0])),
    )


def scores(student: Student, scenes: Sequence[Scene]) -> list[float]:
    """A student's score of each lesson's answer."""
    asks = [Ask(s.view, one.question, one.turns) for s in scenes for one in s.lessons]
    answers = [[one.answer] for s in scenes for one in s.lessons]
    found: list[float] = []
    for start in range(0, len(asks), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        found += [float(each[0]) for each in student.rank(asks[part], answers[part])]
    return found
