"""VQAScore (Lin et al. 2024): how likely a vision-language model answers yes about a triple."""

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
from critic.features.views import group_by_image, prefetch_views
from critic.models.calibration import UNREADABLE_RAW, CalibratedScorer, Platt
from critic.protocol import Diagnostics, Example, Scores
from critic.settings import ModelConfig
from regions.errors import InvalidError
from regions.marks import parse_style
from regions.view import View

FILE = "vqascore.json"
_MODEL_HINT = "give a visual question answering model, such as --model Salesforce/blip2-flan-t5-xl"
_DRAWING_SIZE = 480
"""Side in pixels at which regions are drawn, before the model's processor resizes the image."""
_YES, _NO = ("yes", "Yes", " yes", " Yes"), ("no", "No", " no", " No")
_QUESTION = (
    'The regions of the picture are numbered. Someone asked "{}", was told "{}", and the reason '
    'given was "{}". Is all of that right? Answer yes or no.'
)


class VQAScore(CalibratedScorer):
    """Log-odds of yes against no, calibrated on votes."""

    def __init__(self, config: ModelConfig, platt: Platt | None = None) -> None:
        if not config.model:
            raise InvalidError("--kind vqascore needs a model", hint=_MODEL_HINT)
        super().__init__(platt)
        self.config = config
        self.diagnostics = Diagnostics()
        self.device, self._style = default_device(), parse_style(config.style)
        self._processor: Any = from_pretrained(AutoProcessor, config.model, _MODEL_HINT)
        model = from_pretrained(AutoModelForImageTextToText, config.model, _MODEL_HINT)
        self._model: Any = model.to(self.device).eval()
        self._yes, self._no = self._single_token_ids(_YES), self._single_token_ids(_NO)
        if self._yes & self._no or not (self._yes and self._no):
            raise InvalidError(
                f"{config.model} has no single tokens for yes and no", hint=_MODEL_HINT
            )

    def save(self, folder: Path) -> None:
        """Save the model's name and the calibration."""
        document = {"settings": asdict(self.config), "platt": asdict(self.platt)}
        (folder / FILE).write_text(json.dumps(document), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load what `save` wrote."""
        document = json.loads((folder / FILE).read_text("utf-8"))
        return cls(ModelConfig.from_json(document["settings"]), Platt(**document["platt"]))

    def raw_scores(self, examples: Sequence[Example]) -> Scores:
        """Log-odds of yes against no, shape (examples,)."""
        groups = group_by_image(examples)
        size = _DRAWING_SIZE, _DRAWING_SIZE
        scores = np.full(len(examples), UNREADABLE_RAW)
        for group, views in prefetch_views(examples, groups, size, self._style, self.diagnostics):
            prompts = [self._prompt(view) for view in views]
            # Prompts of one length need no padding, which some processors put on the wrong side.
            by_length: defaultdict[int, list[int]] = defaultdict(list)
            for n, prompt in enumerate(prompts):
                by_length[len(self._processor.tokenizer(prompt)["input_ids"])].append(n)
            for members in by_length.values():
                log_odds = self._yes_log_odds(
                    [views[n] for n in members], [prompts[n] for n in members]
                )
                scores[[group[n] for n in members]] = log_odds
        return scores

    @torch.inference_mode()
    def _yes_log_odds(self, views: Sequence[View], prompts: Sequence[str]) -> Scores:
        inputs = self._processor(
            images=[view.image for view in views], text=list(prompts), return_tensors="pt"
        ).to(self.device)
        with autocast(self.config.precision, self.device):
            output = self._model.generate(
                **inputs,
                max_new_tokens=1,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
            )
        logits = output.logits[0].float()
        yes, no = (logits[:, sorted(tokens)].logsumexp(1) for tokens in (self._yes, self._no))
        return np.asarray((yes - no).cpu().double().numpy(), dtype=np.float64)

    def _prompt(self, view: View) -> str:
        question = _QUESTION.format(*(text.replace('"', "'") for text in view.texts))
        if not getattr(self._processor, "chat_template", None):
            return f"Question: {question} Answer:"
        content = [{"type": "image"}, {"type": "text", "text": question}]
        messages = [{"role": "user", "content": content}]
        return str(self._processor.apply_chat_template(messages, add_generation_prompt=True))

    def _single_token_ids(self, words: Sequence[str]) -> set[int]:
        """Ids of the words that are one token each."""
        tokenizer = self._processor.tokenizer
        encoded = (tokenizer(word, add_special_tokens=False)["input_ids"] for word in words)
        return {ids[0] for ids in encoded if len(ids) == 1}
