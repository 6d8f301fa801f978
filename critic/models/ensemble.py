"""The mean of what other runs say of a triple: critics, or a language model that judges."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np

from critic.models.calibration import Numbered, Platt
from critic.models.protocol import Example, Notes, Scores
from regions.errors import UserError

FILE = "average.json"


class Average(Numbered):
    """Weighs all alike; what their mean is worth, votes say. Examples bring the runs' scores."""

    def __init__(self, of: Sequence[str], platt: Platt | None = None) -> None:
        if not of:
            raise UserError("an average of nothing", hint="name runs by --of, as critic-1,judge-2")
        super().__init__(platt)
        self.of = tuple(of)
        self.notes = Notes()

    def numbers(self, examples: Sequence[Example]) -> Scores:
        """The mean of what an example brings along."""
        return np.array([np.mean(example.extra) for example in examples], dtype=np.float64)

    def save(self, folder: Path) -> None:
        """Write whose mean it is."""
        said = {"of": self.of, "platt": asdict(self.platt)}
        (folder / FILE).write_text(json.dumps(said), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        said = json.loads((folder / FILE).read_text("utf-8"))
        return cls(said["of"], Platt(**said["platt"]))
