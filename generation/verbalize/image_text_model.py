"""Image-text-to-text models of transformers (BLIP-2, LLaVA, Qwen-VL, ...) as captioners.

Models with a chat template are prompted in a chat; others, such as BLIP-2, by
`Question: ... Answer:`, or by an empty prompt for a plain caption.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import PIL.Image
import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from blip2.training import loading
from blip2.training.devices import inference_device
from blip2.training.memory import AdaptiveBatchSize
from generation.checks.validation import normalise
from generation.verbalize.protocol import DescriberInput, Target
from generation.verbalize.settings import ModelSettings
from regions.errors import InvalidError

MARKED_SIDE = 1024
"""Longest side, in pixels, of images with marks: numerals must survive the model's scaling."""


class ImageTextModel:
    """A model by name or folder, whose weights are loaded by the first call."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        config = load_config(settings)
        if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
            raise InvalidError(
                f"{settings.model} ({config.model_type}) is not an image-text-to-text model",
                hint="use one, such as Salesforce/blip2-opt-2.7b",
            )
        self.commit = commit_hash(config)
        self.device = inference_device(settings.device, settings.batch_size)
        self._batch_size = AdaptiveBatchSize(self.device.batch_size)

    @cached_property
    def _processor(self) -> Any:  # noqa: ANN401 - each model has its own
        processor = from_pretrained(AutoProcessor, self._settings)
        processor.tokenizer.padding_side = "left"  # generated tokens follow the prompt
        return processor

    @cached_property
    def _model(self) -> Any:  # noqa: ANN401 - each model has its own
        model = from_pretrained(
            AutoModelForImageTextToText, self._settings, dtype=self.device.dtype
        )
        return model.to(self.device.name).eval()

    @property
    def is_chat(self) -> bool:
        """Whether the model has a chat template; if so, prompts must not be empty."""
        return bool(getattr(self._processor, "chat_template", None))

    def generate(
        self, images: Sequence[PIL.Image.Image], prompts: Sequence[str], max_new_tokens: int
    ) -> list[str]:
        """Return a text for each image and prompt, by greedy decoding.

        The batch size is halved for good when a batch does not fit into the GPU's memory.
        """
        inputs = [self._format(prompt) for prompt in prompts]
        texts = [""] * len(inputs)

        def generate(batch: list[int]) -> None:
            outputs = self._generate(
                [images[i] for i in batch], [inputs[i] for i in batch], max_new_tokens
            )
            for i, text in zip(batch, outputs, strict=True):
                texts[i] = text

        for group in self._groups(inputs):
            for _ in self._batch_size.map(generate, group):
                pass
        return texts

    def _groups(self, inputs: Sequence[str]) -> list[list[int]]:
        """Return indices of the inputs that may share a batch.

        BLIP-2's processor pads between image and text, so that generation would start from
        padding: without a chat template, only prompts of equal length share a batch.
        """
        if self.is_chat:
            return [list(range(len(inputs)))]
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for i, text in enumerate(inputs):
            groups[len(self._processor.tokenizer(text)["input_ids"])].append(i)
        return list(groups.values())

    @torch.inference_mode()
    def _generate(
        self, images: Sequence[PIL.Image.Image], inputs: Sequence[str], max_new_tokens: int
    ) -> list[str]:
        encoded = self._processor(
            images=list(images), text=list(inputs), return_tensors="pt", padding=True
        ).to(self.device.name, self.device.dtype)
        prompt_ids = encoded["input_ids"]
        output_ids = self._model.generate(**encoded, max_new_tokens=max_new_tokens, do_sample=False)
        length = prompt_ids.shape[1]
        if output_ids.shape[1] >= length and bool((output_ids[:, :length] == prompt_ids).all()):
            output_ids = output_ids[:, length:]  # decoder-only models repeat the prompt
        texts = self._processor.batch_decode(output_ids, skip_special_tokens=True)
        return [normalise(text) for text in texts]

    def _format(self, prompt: str) -> str:
        if not self.is_chat:
            return f"Question: {prompt} Answer:" if prompt else ""
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        messages = [{"role": "user", "content": content}]
        return str(self._processor.apply_chat_template(messages, add_generation_prompt=True))


class ImageTextDescriber:
    """Base class of describers that prompt an `ImageTextModel` for each target by itself."""

    needs_image = True
    version: str

    def __init__(self, settings: ModelSettings, max_new_tokens: int) -> None:
        self._max_new_tokens = max_new_tokens
        self._image_text_model = ImageTextModel(settings)
        self.model = settings.model
        self.batch_size = self._image_text_model.device.batch_size

    def view(self, item: DescriberInput, image: PIL.Image.Image, target: Target) -> PIL.Image.Image:
        """Return the image that the model is shown for a target."""
        raise NotImplementedError

    def prompt(self, target: Target) -> str:
        """Return the prompt for a target."""
        raise NotImplementedError

    def describe(
        self, items: Sequence[DescriberInput], images: Sequence[PIL.Image.Image]
    ) -> list[Mapping[Target, str]]:
        """Return a text for each pending target of each item."""
        targets = [(i, target) for i, item in enumerate(items) for target in item.pending]
        views = [self.view(items[i], images[i], target) for i, target in targets]
        prompts = [self.prompt(target) for _, target in targets]
        texts = self._image_text_model.generate(views, prompts, self._max_new_tokens)
        by_item: list[dict[Target, str]] = [{} for _ in items]
        for (i, target), text in zip(targets, texts, strict=True):
            by_item[i][target] = text
        return list(by_item)

    def device_summary(self) -> str:
        """Return the model, its device and its batch size."""
        return f"{self.model} {self._image_text_model.device}"


def load_config(settings: ModelSettings) -> Any:  # noqa: ANN401 - each model has its own
    """Return a model's configuration; UserError if the model cannot be found."""
    return from_pretrained(AutoConfig, settings)


def commit_hash(config: Any) -> str:  # noqa: ANN401 - each model has its own
    """Return the start of the commit of a model on the hub; empty for a folder."""
    return str(getattr(config, "_commit_hash", None) or "")[:8]


def from_pretrained(kind: Any, settings: ModelSettings, **options: Any) -> Any:  # noqa: ANN401 - a class of transformers
    """Return an object of `kind` for a model; UserError if it cannot be loaded."""
    return loading.from_pretrained(
        kind,
        settings.model,
        "give a name on the hub or a folder written by save_pretrained",
        revision=settings.revision or None,
        **options,
    )
