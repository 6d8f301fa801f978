"""BLIP-2's own image-text matching as a critic: votes only say what its number is worth."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
from scipy.special import logit

from critic.models.blip2 import Blip2Critic
from critic.models.calibration import Numbered, Platt
from critic.models.protocol import Example, Scores
from critic.settings import TINY, PictureSettings

FILE = "matching.json"
_SURE = 1e-6


class Matching(Numbered):
    """The stock head of a BLIP-2, on the triple as one text beside its drawn picture."""

    def __init__(self, blip2: Blip2Critic, platt: Platt) -> None:
        super().__init__(platt)
        self._blip2 = blip2
        self.notes = blip2.notes

    @classmethod
    def new(cls, settings: PictureSettings, texts: Sequence[str], seed: int) -> Self:
        """The model that is named."""
        return cls(Blip2Critic.new(settings, texts, seed), Platt())

    def numbers(self, examples: Sequence[Example]) -> Scores:
        """Log-odds that text and picture match."""
        shares = np.clip(self._blip2.score(examples), _SURE, 1 - _SURE)
        return np.asarray(logit(shares), dtype=np.float64)

    def save(self, folder: Path) -> None:
        """Write which model it is and what its number is worth; of `tiny` the model too."""
        settings = self._blip2.settings
        if settings.model == TINY:
            self._blip2.save(folder)
        said = {"settings": asdict(settings), "platt": asdict(self.platt)}
        (folder / FILE).write_text(json.dumps(said), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        said = json.loads((folder / FILE).read_text("utf-8"))
        settings = PictureSettings(**said["settings"])
        if Blip2Critic.is_in(folder):
            blip2 = Blip2Critic.load(folder)
        else:
            blip2 = Blip2Critic.new(settings, (), 0)
        return cls(blip2, Platt(**said["platt"]))
