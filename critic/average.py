"""The mean of what other runs say of a triple: critics, or a language model that judges."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np

from critic.platt import Platt
from critic.protocol import Example, Notes, Progress, Scores, Verdict
from regions.errors import UserError

FILE = "average.json"


class Average:
    """Weighs all alike; what their mean is worth, votes say. Examples bring the runs' scores."""

    def __init__(self, of: Sequence[str], platt: Platt | None = None) -> None:
        if not of:
            raise UserError("an average of nothing", todo="name runs by --of, as critic-1,judge-2")
        self.of, self._platt = tuple(of), platt or Platt()
        self.notes: Notes = {}

    def fit(
        self,
        examples: Sequence[Example],
        verdicts: Sequence[Verdict],
        rng: np.random.Generator,
        progress: Progress = lambda *_: None,
        keep: Path | None = None,
    ) -> None:
        """Find what the mean is worth."""
        del rng, keep
        self._platt = Platt.fitted(_means(examples), [verdict.accept for verdict in verdicts])
        progress(1, 1)

    def score(self, examples: Sequence[Example]) -> Scores:
        """The probability of acceptance."""
        return self._platt(_means(examples))

    def save(self, folder: Path) -> None:
        """Write whose mean it is."""
        said = {"of": self.of, "platt": asdict(self._platt)}
        (folder / FILE).write_text(json.dumps(said), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        said = json.loads((folder / FILE).read_text("utf-8"))
        return cls(said["of"], Platt(**said["platt"]))


def _means(examples: Sequence[Example]) -> Scores:
    return np.array([np.mean(example.extra) for example in examples], dtype=np.float64)
