"""VQAScore (Lin et al. 2024): how likely a model that looks says yes when asked about a triple."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from blip2.training.devices import autocast, default_device
from blip2.training.loading import from_pretrained
from critic.features.views import by_picture, pictures_ahead
from critic.models.calibration import Numbered, Platt
from critic.models.protocol import Example, Notes, Scores
from critic.settings import PictureSettings
from regions.errors import UserError
from regions.marks import parse_style
from regions.view import View

FILE = "vqascore.json"
_GIVE = "give a model that answers about pictures by --model, such as Salesforce/blip2-flan-t5-xl"
_SIDE = 480
"""Pixels at which regions are drawn, before the model's own processor makes of it what it wants."""
_YES, _NO = ("yes", "Yes", " yes", " Yes"), ("no", "No", " no", " No")
_ASKED = (
    'The regions of the picture are numbered. Someone asked "{}", was told "{}", and the reason '
    'given was "{}". Is all of that right? Answer yes or no.'
)


class VQAScore(Numbered):
    """A model by name or folder, which is asked; votes only say what its number is worth."""

    def __init__(self, settings: PictureSettings, platt: Platt | None = None) -> None:
        if not settings.model:
            raise UserError("a critic that looks needs a model", hint=_GIVE)
        super().__init__(platt)
        self.settings = settings
        self.notes = Notes()
        self.device, self._style = default_device(), parse_style(settings.style)
        self._processor: Any = from_pretrained(AutoProcessor, settings.model, _GIVE)
        model = from_pretrained(AutoModelForImageTextToText, settings.model, _GIVE)
        self._model: Any = model.to(self.device).eval()
        self._yes, self._no = self._first(_YES), self._first(_NO)
        if self._yes & self._no or not (self._yes and self._no):
            raise UserError(f"{settings.model} has no words for yes and no", hint=_GIVE)

    def save(self, folder: Path) -> None:
        """Write which model it is and what its number is worth."""
        said = {"settings": asdict(self.settings), "platt": asdict(self.platt)}
        (folder / FILE).write_text(json.dumps(said), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        said = json.loads((folder / FILE).read_text("utf-8"))
        return cls(PictureSettings(**said["settings"]), Platt(**said["platt"]))

    def numbers(self, examples: Sequence[Example]) -> Scores:
        """Log-odds of yes against no, shape (examples,)."""
        pieces = by_picture(examples)
        views = pictures_ahead(examples, pieces, (_SIDE, _SIDE), self._style)
        found = np.zeros(len(examples))
        for places, seen in zip(pieces, views, strict=True):
            prompts = [self._prompt(one) for one in seen]
            # Prompts of one length need no padding, which some processors put in a wrong place.
            alike: defaultdict[int, list[int]] = defaultdict(list)
            for n, prompt in enumerate(prompts):
                alike[len(self._processor.tokenizer(prompt)["input_ids"])].append(n)
            for some in alike.values():
                odds = self._asked([seen[n] for n in some], [prompts[n] for n in some])
                found[[places[n] for n in some]] = odds
        return found

    @torch.inference_mode()
    def _asked(self, views: Sequence[View], prompts: Sequence[str]) -> Scores:
        encoded = self._processor(
            images=[one.image for one in views], text=list(prompts), return_tensors="pt"
        ).to(self.device)
        with autocast(self.settings.precision, self.device):
            said = self._model.generate(
                **encoded,
                max_new_tokens=1,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
            )
        logits = said.logits[0].float()
        yes, no = (logits[:, sorted(tokens)].logsumexp(1) for tokens in (self._yes, self._no))
        return np.asarray((yes - no).cpu().double().numpy(), dtype=np.float64)

    def _prompt(self, seen: View) -> str:
        words = _ASKED.format(*(text.replace('"', "'") for text in seen.texts))
        if not getattr(self._processor, "chat_template", None):
            return f"Question: {words} Answer:"
        content = [{"type": "image"}, {"type": "text", "text": words}]
        turns = [{"role": "user", "content": content}]
        return str(self._processor.apply_chat_template(turns, add_generation_prompt=True))

    def _first(self, words: Sequence[str]) -> set[int]:
        """The tokens that a word may begin with, where that token says it all but whole."""
        tokenizer = self._processor.tokenizer
        found = (tokenizer(word, add_special_tokens=False)["input_ids"] for word in words)
        return {ids[0] for ids in found if len(ids) == 1}
