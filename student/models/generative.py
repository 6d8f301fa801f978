"""A BLIP-2 that speaks: the Q-Former, its queries and the projection learn, all else is frozen.

`tiny` is made here; any `Blip2ForConditionalGeneration` or `InstructBlipForConditionalGeneration`
comes by name or folder. What learned is saved, and of `tiny` the base too, which is nowhere else.
"""

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from PIL.Image import Image
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    Blip2ForConditionalGeneration,
    InstructBlipForConditionalGeneration,
)
from transformers.utils import logging

from blip2.model import tiny
from blip2.model.encoder import to_pixel_values
from blip2.training.loading import from_pretrained
from regions.errors import UserError
from regions.view import View
from student.asking.streaming import Telling
from student.models import prompts
from student.models.blip2 import OnBlip2
from student.models.freezing import freeze, layers
from student.models.generation_network import Writer
from student.models.protocol import Answer, Ask, Lessons, Listener, Scene, Schedule, Scores
from student.models.ranking import ranked
from student.settings import TrainSettings
from student.training.losses import IGNORED, padded
from student.training.trainer import learn

logging.disable_progress_bar()  # a command has one of its own, a page needs none
logging.set_verbosity_error()
# Four words in a row are counted in the answer alone, as they should be.
warnings.filterwarnings("ignore", message=".*no_repeat_ngram_size. with .inputs_embeds.*")

_LEARN = ("query_tokens", "qformer.", "language_projection.")
_GIVE = "give a BLIP-2 that writes, such as Salesforce/blip2-opt-2.7b, a folder, or tiny"
_LONGEST_ANSWER, _LONGEST_QUESTION = 90, 30
"""Tokens."""
_LONGEST = 512
"""Tokens of a prompt and what is said after it, unless the model reads fewer."""


class Generative(OnBlip2[Writer]):
    """See the module; it satisfies `student.models.protocol.Trainable`."""

    writes = True

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - of transformers
        tokenizer: Any,  # noqa: ANN401 - transformers' tokenizers share no typed base
        settings: TrainSettings,
        reader: Any = None,  # noqa: ANN401 - the same
    ) -> None:
        self.tokenizer, self._reader = tokenizer, reader
        freeze(model, but=lambda name: name.startswith(_LEARN))
        super().__init__(Writer(model), model.config.vision_config, settings)
        positions = getattr(model.config.text_config, "max_position_embeddings", None) or _LONGEST
        self._longest = min(_LONGEST, positions - model.config.num_query_tokens)
        if settings.frugal:
            model.gradient_checkpointing_enable({"use_reentrant": False})

    @classmethod
    def made(cls, base: tuple[Any, Any], settings: TrainSettings) -> Self:
        """A tiny base that has learned to see and to read, ready to learn."""
        model, tokenizer = base
        return cls(model, tokenizer, settings, tokenizer)

    @classmethod
    def named(cls, name: str, settings: TrainSettings) -> Self:
        """A pretrained model, frozen parts in bfloat16 on a GPU; UserError where there is none."""
        kind = from_pretrained(AutoConfig, name, _GIVE).model_type
        instructed = kind == "instructblip"
        if kind != "blip-2" and not instructed:
            raise UserError(f"{name!r} is a {kind}, no BLIP-2 that writes", hint="use --kind chat")
        model = Blip2ForConditionalGeneration
        if instructed:
            model = InstructBlipForConditionalGeneration
        dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
        reader = None
        if instructed:
            reader = from_pretrained(AutoTokenizer, name, _GIVE, subfolder="qformer_tokenizer")
        tokenizer = from_pretrained(AutoTokenizer, name, _GIVE)
        return cls(from_pretrained(model, name, _GIVE, dtype=dtype), tokenizer, settings, reader)

    def whole(self, folder: Path) -> None:
        """Write it so that transformers alone can load it."""
        self.network.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        if self._reader is not None:
            self._reader.save_pretrained(folder / "qformer_tokenizer")

    def fit(self, lessons: Lessons, schedule: Schedule) -> None:
        """See `student.training.trainer`."""
        learn(self, lessons, schedule)

    def blocks(self) -> list[nn.Module]:
        """Layers of the tower and of the language model."""
        model = self.network.model
        return [*layers(model.vision_model), *layers(model.language_model)]

    @torch.inference_mode()
    def loss(self, scenes: Sequence[Scene]) -> float:
        """Mean loss of the lessons, in nats a token."""
        self.network.eval()
        pieces = (self.losses(self.network, [scene], 0) for scene in scenes)
        return float(torch.cat(list(pieces)).mean())

    def losses(self, network: nn.Module, scenes: Sequence[Scene], seed: int) -> Tensor:
        """The loss of each lesson; see `student.models.protocol.Trainable`."""
        del seed  # nothing is left to chance here
        told = [
            prompts.told(lesson, len(scene.view.regions))
            for scene in scenes
            for lesson in scene.lessons
        ]
        ids, labels = self._tokens(told)
        counts = torch.tensor([len(scene.lessons) for scene in scenes], device=self.device)
        with self.autocast():
            found: Tensor = network(
                self._pixels([scene.view.image for scene in scenes]),
                counts,
                ids,
                labels,
                self._instructions([prompt for prompt, _ in told]),
            )
        return found

    @torch.inference_mode()
    def answer(self, ask: Ask, listener: Listener | None = None) -> Answer:
        """Answer about the regions that are marked on the picture."""
        start = time.perf_counter()
        self.network.eval()
        regions, question = len(ask.view.regions), ask.question
        if question is None:
            prompt = prompts.asking(regions, ask.turns)
            written = self._generate(ask.view, prompt, _LONGEST_QUESTION, until="?")
            question = written.split("?")[0].strip() + "?"
        prompt = prompts.answering(regions, question, ask.turns)
        generated = self._generate(ask.view, prompt, _LONGEST_ANSWER, listener)
        return prompts.read(question, generated, time.perf_counter() - start)

    def rank(self, asks: Sequence[Ask], choices: Sequence[Sequence[str]]) -> list[Scores]:
        """The mean likelihood of a token of each choice, as its logarithm."""
        self.network.eval()
        return ranked(lambda scenes: -self.losses(self.network, scenes, 0), asks, choices)

    def _generate(
        self,
        seen: View,
        prompt: str,
        longest: int,
        listener: Listener | None = None,
        until: str | None = None,
    ) -> str:
        """The likeliest continuation that repeats no four tokens and names no other region."""
        ids = torch.tensor([self._prompt(prompt)], device=self.device)
        one = torch.ones(1, dtype=torch.long, device=self.device)
        network, language = self.network, self.network.model.language_model
        with self.autocast():
            looked = network.look(self._pixels([seen.image]), one, self._instructions([prompt]))
            embeds, mask = network.told(looked, ids)
            others = self._references(len(seen.regions))
            new = language.generate(
                inputs_embeds=embeds,
                attention_mask=mask,
                max_new_tokens=longest,
                do_sample=False,
                no_repeat_ngram_size=4,
                suppress_tokens=others or None,
                eos_token_id=self.tokenizer.eos_token_id,
                pad_token_id=self.tokenizer.pad_token_id,
                stop_strings=[until] if until else None,
                tokenizer=self.tokenizer if until else None,
                streamer=Telling(self.tokenizer, listener) if listener else None,
            )[0]
        text: str = self.tokenizer.decode(new, skip_special_tokens=True)
        return text

    def _references(self, regions: int) -> list[int]:
        """Tokens that name regions which are not shown, where a reference is one token."""
        known = self.tokenizer.get_vocab()
        names = (f"[{n}]" for n in range(regions, tiny.REGIONS))
        return [known[name] for name in names if name in known]

    def _pixels(self, pictures: Sequence[Image]) -> Tensor:
        return to_pixel_values(pictures).to(self.device)

    def _prompt(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text).input_ids
        if self.network.decodes_only and ids[-1] == self.tokenizer.eos_token_id:
            ids.pop()
        return ids

    def _tokens(self, told: Sequence[tuple[str, str]]) -> tuple[Tensor, Tensor]:
        """Ids and labels as `Writer` takes them; what is too long is cut, and counted."""
        rows, labels = [], []
        for prompt, target in told:
            before = self._prompt(prompt)
            if self.network.decodes_only:
                after = self.tokenizer(target, add_special_tokens=False).input_ids
                after = [*after, self.tokenizer.eos_token_id]
                row, label = before + after, [IGNORED] * len(before) + after
                if len(row) > self._longest:
                    self.notes["texts longer than the model reads"] += 1
                    # The end is what is to be learned: the prompt loses its beginning.
                    row, label = row[-self._longest :], label[-self._longest :]
            else:
                row, label = before[-self._longest :], self.tokenizer(target).input_ids
                if len(before) > self._longest or len(label) > self._longest:
                    self.notes["texts longer than the model reads"] += 1
                label = label[: self._longest]
            rows.append(row)
            labels.append(label)
        return padded(rows, -1).to(self.device), padded(labels, IGNORED).to(self.device)

    def _instructions(self, texts: Sequence[str]) -> Tensor | None:
        if self._reader is None:
            return None
        return padded([self._reader(text).input_ids for text in texts], 0).to(self.device)
