"""BLIP-2's own image-text matching as a critic: votes only say what its number is worth."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
from scipy.special import logit

from critic.blip2 import Blip2Critic
from critic.platt import Platt
from critic.protocol import Example, Notes, Progress, Scores, Verdict
from critic.settings import TINY, PictureSettings

FILE = "matching.json"
_SURE = 1e-6


class Matching:
    """The stock head of a BLIP-2, on the triple as one text beside its drawn picture."""

    def __init__(self, blip2: Blip2Critic, platt: Platt) -> None:
        self._blip2, self._platt = blip2, platt

    @classmethod
    def new(cls, settings: PictureSettings, texts: Sequence[str], seed: int) -> Self:
        """The model that is named."""
        return cls(Blip2Critic.new(settings, texts, seed), Platt())

    @property
    def notes(self) -> Notes:
        """What happened on the way."""
        return self._blip2.notes

    @notes.setter
    def notes(self, notes: Notes) -> None:
        self._blip2.notes = notes

    def fit(
        self,
        examples: Sequence[Example],
        verdicts: Sequence[Verdict],
        rng: np.random.Generator,
        progress: Progress = lambda *_: None,
        keep: Path | None = None,
    ) -> None:
        """Find what its number is worth; the model stays as it is."""
        del rng, keep
        self._platt = Platt.fitted(
            self._matches(examples), [verdict.accept for verdict in verdicts]
        )
        progress(1, 1)

    def score(self, examples: Sequence[Example]) -> Scores:
        """The probability of acceptance."""
        return self._platt(self._matches(examples))

    def _matches(self, examples: Sequence[Example]) -> Scores:
        shares = np.clip(self._blip2.score(examples), _SURE, 1 - _SURE)
        return np.asarray(logit(shares), dtype=np.float64)

    def save(self, folder: Path) -> None:
        """Write which model it is and what its number is worth; of `tiny` the model too."""
        settings = self._blip2.settings
        if settings.model == TINY:
            self._blip2.save(folder)
        said = {"settings": asdict(settings), "platt": asdict(self._platt)}
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
