"""Student on any image-text-to-text chat model of transformers, trained with LoRA (Hu et al. 2021).

Regions are drawn on the image, or written in the prompt as coordinates in the model family's unit.
Images are rendered at the size that the model's processor produces, so that no mark is resized
afterwards. The LoRA adapters are saved, and load onto their base model.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image as Pillow
from PIL.Image import Image
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText
from transformers.utils import logging

from blip2.training.devices import autocast, default_device
from blip2.training.loading import first_line, from_pretrained
from regions.errors import InvalidError, UserError
from regions.geometry import Region, fit_within
from regions.marks import parse_style
from regions.view import View, make_view
from student.models import box_format, freezing, prompts
from student.models.chat_processor import load_processor
from student.models.losses import IGNORE_INDEX, per_text_loss
from student.models.protocol import (
    Answer,
    Diagnostics,
    Example,
    ImageExamples,
    OnText,
    Query,
    Scores,
    Turn,
)
from student.models.ranking import mean_example_loss, rank_by_likelihood
from student.models.streaming import CallbackStreamer
from student.settings import TrainSettings

# Commands show progress of their own, and pages need none.
logging.disable_progress_bar()
logging.set_verbosity_error()

_HINT = "give an image-text-to-text model with a chat template, e.g. Qwen/Qwen3-VL-2B-Instruct"
_NOT_ADAPTED = ("vision", "visual", "lm_head", "projector", "connector", "merger", "embed")
"""Parts of module names that get no adapters: adapters go to the language model."""
_MAX_ANSWER_TOKENS = 160
_DEFAULT_SIDE = 672
"""The longer side of an image in pixels, for models that take any size."""
_SELF_QUESTION = "Ask a question about what is marked, and answer it."


class ChatStudent:
    """A `TrainableStudent` on a chat model."""

    can_generate = True

    def __init__(self, network: Any, processor: Any, settings: TrainSettings) -> None:  # noqa: ANN401 - of peft and transformers
        self.settings, self._processor = settings, processor
        self.tokenizer = processor.tokenizer
        self.diagnostics = Diagnostics()
        self.device = default_device()
        freezing.freeze(network, is_trainable=lambda name: "lora_" in name)
        self.network: Any = network.to(self.device)
        self._style = parse_style(settings.style) if settings.region_input == "marks" else None
        self._unit = box_format.coordinate_unit(network.config.model_type)
        self._processed_size = lru_cache(1000)(self._find_processed_size)
        if settings.gradient_checkpointing:
            network.enable_input_require_grads()
            network.gradient_checkpointing_enable({"use_reentrant": False})

    @classmethod
    def from_pretrained(cls, name: str, settings: TrainSettings) -> Self:
        """Return a pretrained model with new adapters; UserError if it has no chat template."""
        base, processor = _load_base(name)
        targets = [
            path
            for path, module in base.named_modules()
            if isinstance(module, nn.Linear) and not any(part in path for part in _NOT_ADAPTED)
        ]
        if not targets:
            raise InvalidError(f"no layer of {name!r} can be adapted", hint=_HINT)
        torch.manual_seed(settings.seed)
        config = LoraConfig(
            r=settings.lora_rank,
            lora_alpha=2 * settings.lora_rank,
            lora_dropout=0.0,
            target_modules=targets,
            base_model_name_or_path=name,
        )
        return cls(get_peft_model(base, config), processor, settings)

    @classmethod
    def load(cls, folder: Path, settings: TrainSettings) -> Self:
        """Load a student that `save` wrote; UserError if its base is another model."""
        base, processor = _load_base(settings.model)
        try:
            network = PeftModel.from_pretrained(base, str(folder), is_trainable=True)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise UserError(
                f"the adapters do not fit: {first_line(error):.160}",
                where=str(folder),
                hint="use the base model they were trained on",
            ) from error
        student = cls(network, processor, settings)
        student.network.eval()
        return student

    def save(self, folder: Path) -> None:
        """Write the adapters."""
        self.network.save_pretrained(folder)

    def save_merged(self, folder: Path) -> None:
        """Merge the adapters into the model and write it in the format of transformers."""
        self.network.merge_and_unload().save_pretrained(folder)
        self._processor.save_pretrained(folder)

    def make_view(
        self,
        image: Image,
        regions: Sequence[Region],
        texts: Sequence[str],
        visible_regions: Sequence[int],
    ) -> View:
        """Resize an image to the size the model sees, and draw regions unless they are written."""
        longer_side = self.settings.image_size or _DEFAULT_SIDE
        size = self._processed_size(*fit_within(*image.size, longer_side))
        return make_view(
            image, regions, texts, visible=visible_regions, size=size, style=self._style
        )

    def _find_processed_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size that the processor resizes an image to; images of that size it keeps."""
        blank = Pillow.new("RGB", (width, height))
        inputs = self._processor.image_processor(images=[blank], return_tensors="pt")
        if "image_grid_thw" in inputs:
            _, rows, columns = inputs["image_grid_thw"][0].tolist()
            patch = self._processor.image_processor.patch_size
            return columns * patch, rows * patch
        pixel_values = inputs["pixel_values"]
        if pixel_values.dim() == 4:  # noqa: PLR2004 - images, channels, height, width
            return int(pixel_values.shape[-1]), int(pixel_values.shape[-2])
        return width, height  # cut into tiles without resizing

    def fsdp_modules(self) -> list[nn.Module]:
        """Return the layers of the vision tower and of the language model."""
        return freezing.stacked_layers(self.network)

    def mean_loss(self, batch: Sequence[ImageExamples]) -> float:
        """Return the mean loss over the examples, in nats per token."""
        return mean_example_loss(self, batch)

    def example_losses(
        self, network: nn.Module, batch: Sequence[ImageExamples], seed: int
    ) -> Tensor:
        """Return the loss of each example, shape (examples,); see `TrainableStudent`."""
        del seed  # nothing is random here
        rows = [self._encode_example(g.view, example) for g in batch for example in g.examples]
        inputs, labels = self._collate(rows)
        with self.autocast():
            logits = network(**inputs).logits[:, :-1]
        labels = labels[:, 1:]
        return per_text_loss(logits[labels != IGNORE_INDEX], labels)

    @torch.inference_mode()
    def answer(self, query: Query, on_text: OnText | None = None) -> Answer:
        """Answer a query; without a question the model is asked to write one first."""
        began = time.perf_counter()
        self.network.eval()
        prompt = self._encode_prompt(query.view, query.question or _SELF_QUESTION, query.turns)
        inputs = {name: value.to(self.device) for name, value in prompt.items()}
        prompt_length = inputs["input_ids"].shape[1]
        streamer = CallbackStreamer(self.tokenizer, on_text, prompt_length) if on_text else None
        with self.autocast():
            generated = self.network.generate(
                **inputs,
                max_new_tokens=_MAX_ANSWER_TOKENS,
                do_sample=False,
                streamer=streamer,
            )[0]
        text = self.tokenizer.decode(generated[prompt_length:], skip_special_tokens=True)
        question = query.question
        if question is None:
            question, _, text = text.partition("Answer:")
        return prompts.parse_answer(question, text, time.perf_counter() - began)

    def rank(self, queries: Sequence[Query], choices: Sequence[Sequence[str]]) -> list[Scores]:
        """Score choices by their mean log-likelihood per token."""
        return rank_by_likelihood(self, queries, choices)

    def _encode_example(
        self, image_view: View, example: Example
    ) -> tuple[Mapping[str, Tensor], list[int]]:
        """Return the encoded prompt of an example, and the token ids of its target."""
        target = prompts.answer_target(example.answer, example.rationale).strip()
        if example.question_is_target:
            target = f"{example.question} Answer: {target}"
        ids = self.tokenizer(target, add_special_tokens=False).input_ids
        question = _SELF_QUESTION if example.question_is_target else example.question
        prompt = self._encode_prompt(image_view, question, example.turns)
        return prompt, [*ids, self.tokenizer.eos_token_id]

    def _encode_prompt(
        self, image_view: View, question: str, turns: Sequence[Turn]
    ) -> Mapping[str, Tensor]:
        """Encode a conversation by the model's chat template, with the image at its start."""
        chat: list[dict[str, Any]] = []
        for n, (asked, answer) in enumerate([*turns, (question, None)]):
            text = f"{self._region_prompt(image_view)}{asked}" if n == 0 else asked
            image = [{"type": "image"}] if n == 0 else []
            chat.append({"role": "user", "content": [*image, {"type": "text", "text": text}]})
            if answer is not None:
                content = [{"type": "text", "text": answer}]
                chat.append({"role": "assistant", "content": content})
        prompt = self._processor.apply_chat_template(chat, add_generation_prompt=True)
        inputs: Mapping[str, Tensor] = self._processor(
            text=[prompt], images=[image_view.image], return_tensors="pt"
        )
        return inputs

    def _region_prompt(self, image_view: View) -> str:
        if not image_view.regions:
            return ""
        if self._style is not None:
            listed = " ".join(f"[{region.number}]" for region in image_view.regions)
            return f"Regions {listed} are marked by their numbers. "
        boxes = "; ".join(
            f'[{region.number}] {{"bbox_2d": '
            f"{box_format.format_box(region.box, image_view.image.size, self._unit)}}}"
            for region in image_view.regions
        )
        return f"Regions: {boxes}. "

    def _collate(
        self, rows: Sequence[tuple[Mapping[str, Tensor], list[int]]]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Batch prompts and targets, padded on the right; inputs by name, and labels."""
        longest = max(prompt["input_ids"].shape[1] + len(target) for prompt, target in rows)
        labels = torch.full((len(rows), longest), IGNORE_INDEX)
        columns: dict[str, list[Tensor]] = {name: [] for name in rows[0][0]}
        for n, (prompt, target) in enumerate(rows):
            start = prompt["input_ids"].shape[1]
            end = start + len(target)
            labels[n, start:end] = torch.tensor(target)
            for name, value in prompt.items():
                if value.shape[:2] != prompt["input_ids"].shape:  # not one value per token
                    columns[name].append(value)
                    continue
                padded = value.new_zeros(1, longest)
                padded[:, :start] = value
                if name == "input_ids":
                    padded[0, start:end] = torch.tensor(target)
                elif name == "attention_mask":
                    padded[0, start:end] = 1
                columns[name].append(padded)
        inputs = {name: torch.cat(values).to(self.device) for name, values in columns.items()}
        return inputs, labels.to(self.device)

    def autocast(self) -> AbstractContextManager[object]:
        """Context manager that computes in the precision of the settings."""
        return autocast(self.settings.precision, self.device)


def _load_base(name: str) -> tuple[Any, Any]:
    processor = load_processor(name, _HINT)
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    return from_pretrained(AutoModelForImageTextToText, name, _HINT, dtype=dtype), processor
