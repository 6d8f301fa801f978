"""Student that generates answers: a BLIP-2 whose Q-Former, queries and projection are trained.

All other parameters are frozen. The model is `tiny`, built here, or any pretrained
`Blip2ForConditionalGeneration` or `InstructBlipForConditionalGeneration`.
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
from regions.errors import InvalidError
from regions.view import View
from student.models import prompts
from student.models.blip2_student import Blip2Student
from student.models.freezing import freeze, stacked_layers
from student.models.generation_network import GenerationNetwork
from student.models.losses import IGNORE_INDEX, pad_rows
from student.models.protocol import Answer, ImageExamples, OnText, Query, Scores
from student.models.ranking import mean_example_loss, rank_by_likelihood
from student.models.streaming import CallbackStreamer
from student.settings import TrainSettings

# Commands show progress of their own, and pages need none.
logging.disable_progress_bar()
logging.set_verbosity_error()
# With inputs_embeds, repeated n-grams are looked for in the generated tokens only, as intended.
warnings.filterwarnings("ignore", message=".*no_repeat_ngram_size. with .inputs_embeds.*")

_TRAINABLE = ("query_tokens", "qformer.", "language_projection.")
_HINT = "give a BLIP-2 with a language model, e.g. Salesforce/blip2-opt-2.7b, a folder, or tiny"
_MAX_ANSWER_TOKENS, _MAX_QUESTION_TOKENS = 90, 30
_MAX_TOKENS = 512
"""Longest prompt with its target, unless the model has fewer positions."""


class GenerativeStudent(Blip2Student[GenerationNetwork]):
    """A `TrainableStudent` on a BLIP-2 with a language model."""

    can_generate = True

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - of transformers
        tokenizer: Any,  # noqa: ANN401 - transformers' tokenizers share no typed base
        settings: TrainSettings,
        qformer_tokenizer: Any = None,  # noqa: ANN401 - the same
    ) -> None:
        self.tokenizer, self._qformer_tokenizer = tokenizer, qformer_tokenizer
        freeze(model, is_trainable=lambda name: name.startswith(_TRAINABLE))
        super().__init__(GenerationNetwork(model), model.config.vision_config, settings)
        text_config = model.config.text_config
        positions = getattr(text_config, "max_position_embeddings", None) or _MAX_TOKENS
        self._max_tokens = min(_MAX_TOKENS, positions - model.config.num_query_tokens)
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})

    @classmethod
    def from_tiny_base(cls, base: tuple[Any, Any], settings: TrainSettings) -> Self:
        """Return a student on a pretrained tiny model and its tokenizer."""
        model, tokenizer = base
        return cls(model, tokenizer, settings, tokenizer)

    @classmethod
    def from_pretrained(cls, name: str, settings: TrainSettings) -> Self:
        """Return a student on a pretrained model, in bfloat16 on a GPU.

        UserError if it cannot be loaded, InvalidError if it is no BLIP-2.
        """
        model_type = from_pretrained(AutoConfig, name, _HINT).model_type
        is_instructblip = model_type == "instructblip"
        if model_type != "blip-2" and not is_instructblip:
            raise InvalidError(
                f"{name!r} is of type {model_type}, not a BLIP-2 with a language model",
                hint="use --kind chat",
            )
        model_class = (
            InstructBlipForConditionalGeneration
            if is_instructblip
            else Blip2ForConditionalGeneration
        )
        qformer_tokenizer = None
        if is_instructblip:
            qformer_tokenizer = from_pretrained(
                AutoTokenizer, name, _HINT, subfolder="qformer_tokenizer"
            )
        tokenizer = from_pretrained(AutoTokenizer, name, _HINT)
        dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
        model = from_pretrained(model_class, name, _HINT, dtype=dtype)
        return cls(model, tokenizer, settings, qformer_tokenizer)

    def save_merged(self, folder: Path) -> None:
        """Write the whole model in the format of transformers."""
        self.network.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        if self._qformer_tokenizer is not None:
            self._qformer_tokenizer.save_pretrained(folder / "qformer_tokenizer")

    def fsdp_modules(self) -> list[nn.Module]:
        """Return the layers of the vision tower and of the language model."""
        model = self.network.model
        return [*stacked_layers(model.vision_model), *stacked_layers(model.language_model)]

    def mean_loss(self, batch: Sequence[ImageExamples]) -> float:
        """Return the mean loss over the examples, in nats per token."""
        return mean_example_loss(self, batch)

    def example_losses(
        self, network: nn.Module, batch: Sequence[ImageExamples], seed: int
    ) -> Tensor:
        """Return the loss of each example, shape (examples,); see `TrainableStudent`."""
        del seed  # nothing is random here
        texts = [
            prompts.prompt_and_target(example, len(group.view.regions))
            for group in batch
            for example in group.examples
        ]
        input_ids, labels = self._encode(texts)
        counts = torch.tensor([len(group.examples) for group in batch], device=self.device)
        with self.autocast():
            losses: Tensor = network(
                self._pixel_values([group.view.image for group in batch]),
                counts,
                input_ids,
                labels,
                self._qformer_ids([prompt for prompt, _ in texts]),
            )
        return losses

    @torch.inference_mode()
    def answer(self, query: Query, on_text: OnText | None = None) -> Answer:
        """Answer a query, after generating its question if it has none."""
        start = time.perf_counter()
        self.network.eval()
        regions, question = len(query.view.regions), query.question
        if question is None:
            prompt = prompts.question_prompt(regions, query.turns)
            generated = self._generate(query.view, prompt, _MAX_QUESTION_TOKENS, stop="?")
            question = generated.split("?")[0].strip() + "?"
        prompt = prompts.answer_prompt(regions, question, query.turns)
        generated = self._generate(query.view, prompt, _MAX_ANSWER_TOKENS, on_text)
        return prompts.parse_answer(question, generated, time.perf_counter() - start)

    def rank(self, queries: Sequence[Query], choices: Sequence[Sequence[str]]) -> list[Scores]:
        """Score choices by their mean log-likelihood per token."""
        return rank_by_likelihood(self, queries, choices)

    def _generate(
        self,
        view: View,
        prompt: str,
        max_tokens: int,
        on_text: OnText | None = None,
        stop: str | None = None,
    ) -> str:
        """Greedy continuation without repeated 4-grams or references to regions not shown."""
        input_ids = torch.tensor([self._prompt_ids(prompt)], device=self.device)
        one = torch.ones(1, dtype=torch.long, device=self.device)
        network, language_model = self.network, self.network.model.language_model
        with self.autocast():
            queries = network.project_image(
                self._pixel_values([view.image]), one, self._qformer_ids([prompt])
            )
            embeddings, mask = network.input_embeddings(queries, input_ids)
            generated = language_model.generate(
                inputs_embeds=embeddings,
                attention_mask=mask,
                max_new_tokens=max_tokens,
                do_sample=False,
                no_repeat_ngram_size=4,
                suppress_tokens=self._other_references(len(view.regions)) or None,
                eos_token_id=self.tokenizer.eos_token_id,
                pad_token_id=self.tokenizer.pad_token_id,
                stop_strings=[stop] if stop else None,
                tokenizer=self.tokenizer if stop else None,
                streamer=CallbackStreamer(self.tokenizer, on_text) if on_text else None,
            )[0]
        text: str = self.tokenizer.decode(generated, skip_special_tokens=True)
        return text

    def _other_references(self, regions: int) -> list[int]:
        """Return the tokens that refer to regions not shown, where references are tokens."""
        vocabulary = self.tokenizer.get_vocab()
        names = (f"[{n}]" for n in range(regions, tiny.REGIONS))
        return [vocabulary[name] for name in names if name in vocabulary]

    def _pixel_values(self, images: Sequence[Image]) -> Tensor:
        return to_pixel_values(images).to(self.device)

    def _prompt_ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text).input_ids
        if self.network.is_decoder_only and ids[-1] == self.tokenizer.eos_token_id:
            ids.pop()
        return ids

    def _encode(self, texts: Sequence[tuple[str, str]]) -> tuple[Tensor, Tensor]:
        """Return token ids and labels for `GenerationNetwork`; long texts are truncated."""
        rows, labels = [], []
        for prompt, target in texts:
            prompt_ids = self._prompt_ids(prompt)
            if self.network.is_decoder_only:
                target_ids = self.tokenizer(target, add_special_tokens=False).input_ids
                target_ids = [*target_ids, self.tokenizer.eos_token_id]
                row = prompt_ids + target_ids
                label = [IGNORE_INDEX] * len(prompt_ids) + target_ids
                if len(row) > self._max_tokens:
                    self.diagnostics.truncated_texts += 1
                    # The target is at the end: cut the prompt at its start.
                    row, label = row[-self._max_tokens :], label[-self._max_tokens :]
            else:
                row, label = prompt_ids[-self._max_tokens :], self.tokenizer(target).input_ids
                if max(len(prompt_ids), len(label)) > self._max_tokens:
                    self.diagnostics.truncated_texts += 1
                label = label[: self._max_tokens]
            rows.append(row)
            labels.append(label)
        return pad_rows(rows, -1).to(self.device), pad_rows(labels, IGNORE_INDEX).to(self.device)

    def _qformer_ids(self, texts: Sequence[str]) -> Tensor | None:
        """Return what an InstructBLIP's Q-Former reads; None for a BLIP-2."""
        if self._qformer_tokenizer is None:
            return None
        rows = [self._qformer_tokenizer(text).input_ids for text in texts]
        return pad_rows(rows, 0).to(self.device)
