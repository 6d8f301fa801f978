"""The mean score of other runs: critics, or language models as judges."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np

from critic.models.calibration import CalibratedScorer, Platt
from critic.protocol import Diagnostics, Example, Scores
from regions.errors import InvalidError

FILE = "average.json"


class Average(CalibratedScorer):
    """The unweighted mean of scores that examples carry as `extra_features`, calibrated."""

    def __init__(self, run_names: Sequence[str], platt: Platt | None = None) -> None:
        if not run_names:
            raise InvalidError(
                "--kind average needs runs to average",
                hint="name them, as in --from-runs critic-1,generate-2",
            )
        super().__init__(platt)
        self.run_names = tuple(run_names)
        self.diagnostics = Diagnostics()

    def raw_scores(self, examples: Sequence[Example]) -> Scores:
        """The mean of each example's scores."""
        means = [np.mean(example.extra_features) for example in examples]
        return np.array(means, dtype=np.float64)

    def save(self, folder: Path) -> None:
        """Save the names of the runs and the calibration."""
        document = {"from_runs": self.run_names, "platt": asdict(self.platt)}
        (folder / FILE).write_text(json.dumps(document), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load what `save` wrote."""
        document = json.loads((folder / FILE).read_text("utf-8"))
        names = document["from_runs"] if "from_runs" in document else document["of"]  # former name
        return cls(names, Platt(**document["platt"]))
