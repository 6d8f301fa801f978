"""A model that looks at pictures and writes: BLIP-2, LLaVA, Qwen-VL and all of their kind.

transformers calls them image-text-to-text. Those with a chat template are asked in it; those
without, such as BLIP-2, by `Question: ... Answer:`, or by nothing at all for a plain caption.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import PIL.Image
import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from generation.verbalize import devices
from generation.verbalize.protocol import Item, Place
from generation.verbalize.settings import ModelSettings
from regions.errors import UserError


class LookingModel:
    """A model by name or folder. Its weights are loaded when it first looks."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._config: Any = config_of(settings)
        if type(self._config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
            raise UserError(
                f"{settings.model} does not write about pictures: {self._config.model_type}",
                hint="use an image-text-to-text model, such as Salesforce/blip2-opt-2.7b",
            )
        self.commit = commit_of(self._config)
        self.device = devices.choose(settings.device, settings.batch_size)
        self._batch = self.device.batch

    @cached_property
    def _processor(self) -> Any:  # noqa: ANN401 - each model has its own
        found = loaded(AutoProcessor, self._settings)
        # What is written comes behind the prompt: the padding has to come before it.
        found.tokenizer.padding_side = "left"
        return found

    @cached_property
    def _model(self) -> Any:  # noqa: ANN401 - each model has its own
        made = loaded(AutoModelForImageTextToText, self._settings, dtype=self.device.dtype)
        return made.to(self.device.name).eval()

    @property
    def chats(self) -> bool:
        """Whether it is asked in a chat, which has to say something."""
        return bool(getattr(self._processor, "chat_template", None))

    def write(
        self, pictures: Sequence[PIL.Image.Image], asked: Sequence[str], longest: int
    ) -> list[str]:
        """What it writes about each picture, at most `longest` tokens; always the same."""
        prompts = [self._prompt(words) for words in asked]
        written = [""] * len(prompts)
        for group in self._alike(prompts):
            left = group
            while left:
                some = left[: self._batch]
                try:
                    texts = self._write(
                        [pictures[n] for n in some], [prompts[n] for n in some], longest
                    )
                except torch.cuda.OutOfMemoryError as error:
                    self._make_do(error)
                    continue
                for n, text in zip(some, texts, strict=True):
                    written[n] = text
                left = left[len(some) :]
        return written

    def _alike(self, prompts: Sequence[str]) -> list[list[int]]:
        """Which prompts may go together.

        BLIP-2's processor pads between picture and text, where generation would start from the
        padding: without a chat template, only prompts of one length share a batch.
        """
        if self.chats:
            return [list(range(len(prompts)))]
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for n, prompt in enumerate(prompts):
            groups[len(self._processor.tokenizer(prompt)["input_ids"])].append(n)
        return list(groups.values())

    def _make_do(self, error: Exception) -> None:
        """Go on with half as many pictures at once; UserError where that is none."""
        if self._batch == 1:
            raise UserError(
                "the GPU has no room for one picture", hint="use a smaller model"
            ) from error
        self._batch //= 2
        torch.cuda.empty_cache()

    @torch.inference_mode()
    def _write(
        self, pictures: Sequence[PIL.Image.Image], prompts: Sequence[str], longest: int
    ) -> list[str]:
        encoded = self._processor(
            images=list(pictures), text=list(prompts), return_tensors="pt", padding=True
        ).to(self.device.name, self.device.dtype)
        prompt = encoded["input_ids"]
        made = self._model.generate(**encoded, max_new_tokens=longest, do_sample=False)
        if made.shape[1] >= prompt.shape[1] and bool((made[:, : prompt.shape[1]] == prompt).all()):
            made = made[:, prompt.shape[1] :]  # a decoder alone repeats what it was asked
        words = self._processor.batch_decode(made, skip_special_tokens=True)
        return [" ".join(text.replace("\0", "").split()) for text in words]

    def _prompt(self, words: str) -> str:
        if not self.chats:
            return f"Question: {words} Answer:" if words else ""
        content = [{"type": "image"}, {"type": "text", "text": words}]
        turns = [{"role": "user", "content": content}]
        return str(self._processor.apply_chat_template(turns, add_generation_prompt=True))


class Looking:
    """What describers have in common that ask such a model about each place for itself."""

    sees = True
    version: str

    def __init__(self, settings: ModelSettings, longest: int) -> None:
        self._longest = longest
        self._looking = LookingModel(settings)
        self.model, self.batch = settings.model, self._looking.device.batch

    def show(self, item: Item, picture: PIL.Image.Image, place: Place) -> PIL.Image.Image:
        """What the model is shown of a place."""
        raise NotImplementedError

    def words(self, place: Place) -> str:
        """What the model is asked about a place."""
        raise NotImplementedError

    def describe(
        self, items: Sequence[Item], pictures: Sequence[PIL.Image.Image]
    ) -> list[Mapping[Place, str]]:
        """The words for each item's `todo`."""
        asked = [
            (n, place, self.show(item, picture, place))
            for n, (item, picture) in enumerate(zip(items, pictures, strict=True))
            for place in item.todo
        ]
        words = [self.words(place) for _, place, _ in asked]
        written = self._looking.write([sight for *_, sight in asked], words, self._longest)
        found: list[dict[Place, str]] = [{} for _ in items]
        for (n, place, _), text in zip(asked, written, strict=True):
            found[n][place] = text
        return list(found)

    def stated(self) -> str:
        """Where it runs."""
        return f"{self.model} {self._looking.device}"


def config_of(settings: ModelSettings) -> Any:  # noqa: ANN401 - each model has its own
    """A model's configuration; UserError where there is no such model."""
    return loaded(AutoConfig, settings)


def commit_of(config: Any) -> str:  # noqa: ANN401 - each model has its own
    """Which state of a model it is, as far as its hub says; a folder has none."""
    return str(getattr(config, "_commit_hash", None) or "")[:8]


def loaded(kind: Any, settings: ModelSettings, **how: Any) -> Any:  # noqa: ANN401 - a class of transformers
    """Something of a model, by name or folder; UserError where it cannot be had."""
    try:
        return kind.from_pretrained(settings.model, revision=settings.revision or None, **how)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UserError(
            f"no model {settings.model!r}: {reason}",
            hint="give a name that the hub knows, or a folder that save_pretrained wrote",
        ) from error
