"""BLIP-2's pretrained image-text matching as a critic, calibrated on votes."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
from scipy.special import logit

from critic.models.blip2.model import Blip2Critic
from critic.models.calibration import UNREADABLE_RAW, CalibratedScorer, Platt
from critic.protocol import UNREADABLE, Example, Scores
from critic.settings import TINY, ModelConfig

FILE = "matching.json"
_EPS = 1e-6


class Matching(CalibratedScorer):
    """The image-text matching head of a BLIP-2, on the triple as one text and its marked image."""

    def __init__(self, blip2: Blip2Critic, platt: Platt) -> None:
        super().__init__(platt)
        self._blip2 = blip2
        self.diagnostics = blip2.diagnostics

    @classmethod
    def create(cls, config: ModelConfig, texts: Sequence[str], seed: int) -> Self:
        """Load or create the model; see `Blip2Critic.create`."""
        return cls(Blip2Critic.create(config, texts, seed), Platt())

    def raw_scores(self, examples: Sequence[Example]) -> Scores:
        """Log-odds that text and image match."""
        matches = self._blip2.score(examples)
        log_odds = logit(np.clip(matches, _EPS, 1 - _EPS))
        return np.where(matches == UNREADABLE, UNREADABLE_RAW, log_odds)

    def save(self, folder: Path) -> None:
        """Save the calibration and the model's name; of `tiny` the model too."""
        config = self._blip2.config
        if config.model == TINY:
            self._blip2.save(folder)
        document = {"settings": asdict(config), "platt": asdict(self.platt)}
        (folder / FILE).write_text(json.dumps(document), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load what `save` wrote."""
        document = json.loads((folder / FILE).read_text("utf-8"))
        config = ModelConfig.from_json(document["settings"])
        if Blip2Critic.is_saved_in(folder):
            blip2 = Blip2Critic.load(folder)
        else:
            blip2 = Blip2Critic.create(config, (), 0)
        return cls(blip2, Platt(**document["platt"]))
