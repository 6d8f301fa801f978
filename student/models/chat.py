"""Any image-text-to-text model of transformers with a chat, taught by LoRA (Hu et al. 2021).

Regions are drawn and numbered, or told in the coordinates that the model's family knows. Pictures
are drawn at the very size that the model's own processor makes of them, so that nothing moves or
blurs a mark afterwards. The adapters are saved, and load onto their base.
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
from blip2.training.loading import from_pretrained
from regions.errors import UserError
from regions.geometry import Region, fit_within
from regions.marks import parse_style
from regions.view import View, make_view
from student.asking.streaming import Telling
from student.models import box_format, freezing, prompts
from student.models.chat_processor import processor_of
from student.models.freezing import layers
from student.models.protocol import (
    Answer,
    Ask,
    Lesson,
    Lessons,
    Listener,
    Notes,
    Scene,
    Schedule,
    Scores,
    Turn,
)
from student.models.ranking import ranked
from student.settings import TrainSettings
from student.training.losses import IGNORED, per_text
from student.training.trainer import learn

logging.disable_progress_bar()  # a command has one of its own, a page needs none
logging.set_verbosity_error()

_GIVE = "give an image-text-to-text model with a chat, such as Qwen/Qwen3-VL-2B-Instruct"
_NOT_LANGUAGE = ("vision", "visual", "lm_head", "projector", "connector", "merger", "embed")
_LONGEST_ANSWER = 160
"""Tokens."""
_SIDE = 672
"""The longer side of a picture in pixels, for models that take any."""
_ASK = "Ask a question about what is marked, and answer it."


class Chat:
    """See the module; it satisfies `student.models.protocol.Trainable`."""

    writes = True

    def __init__(self, network: Any, processor: Any, settings: TrainSettings) -> None:  # noqa: ANN401 - of peft and transformers
        self.settings, self._processor = settings, processor
        self.tokenizer = processor.tokenizer
        self.notes = Notes()
        self.device = default_device()
        freezing.freeze(network, but=lambda name: "lora_" in name)
        self.network: Any = network.to(self.device)
        self._style = parse_style(settings.style) if settings.told == "marks" else None
        self._family = box_format.family_of(network.config.model_type)
        self._seen_size = lru_cache(1000)(self._made_of)
        if settings.frugal:
            network.enable_input_require_grads()
            network.gradient_checkpointing_enable({"use_reentrant": False})

    @classmethod
    def named(cls, name: str, settings: TrainSettings) -> Self:
        """A pretrained model with new adapters; UserError where there is none, or no chat."""
        base, processor = _base(name)
        names = [
            path
            for path, module in base.named_modules()
            if isinstance(module, nn.Linear) and not any(part in path for part in _NOT_LANGUAGE)
        ]
        if not names:
            raise UserError(f"nothing of {name!r} can be adapted", hint=_GIVE)
        torch.manual_seed(settings.seed)
        adapters = LoraConfig(
            r=settings.rank,
            lora_alpha=2 * settings.rank,
            lora_dropout=0.0,
            target_modules=names,
            base_model_name_or_path=name,
        )
        return cls(get_peft_model(base, adapters), processor, settings)

    @classmethod
    def load(cls, folder: Path, settings: TrainSettings) -> Self:
        """The student that `save` wrote; UserError where its base is another model."""
        base, processor = _base(settings.model)
        try:
            network = PeftModel.from_pretrained(base, str(folder), is_trainable=True)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"the adapters do not fit: {reason:.160}",
                where=str(folder),
                hint="use the base they were trained on",
            ) from error
        student = cls(network, processor, settings)
        student.network.eval()
        return student

    def save(self, folder: Path) -> None:
        """Write the adapters."""
        self.network.save_pretrained(folder)

    def whole(self, folder: Path) -> None:
        """Write it so that transformers alone can load it; the adapters become part of it."""
        self.network.merge_and_unload().save_pretrained(folder)
        self._processor.save_pretrained(folder)

    def look(
        self, picture: Image, regions: Sequence[Region], texts: Sequence[str], shown: Sequence[int]
    ) -> View:
        """A picture at the size that the model sees; regions are drawn unless they are told."""
        longest = self.settings.size or _SIDE
        size = self._seen_size(*fit_within(*picture.size, longest))
        return make_view(picture, regions, texts, visible=shown, size=size, style=self._style)

    def _made_of(self, width: int, height: int) -> tuple[int, int]:
        """The size of what the processor makes of a picture, which it then leaves as it is."""
        blank = Pillow.new("RGB", (width, height))
        made = self._processor.image_processor(images=[blank], return_tensors="pt")
        if "image_grid_thw" in made:
            _, high, wide = made["image_grid_thw"][0].tolist()
            patch = self._processor.image_processor.patch_size
            return wide * patch, high * patch
        found = made["pixel_values"]
        if found.dim() == 4:  # noqa: PLR2004 - pictures, channels, height, width
            return int(found.shape[-1]), int(found.shape[-2])
        return width, height  # cut into tiles, each as it is

    def fit(self, lessons: Lessons, schedule: Schedule) -> None:
        """See `student.training.trainer`."""
        learn(self, lessons, schedule)

    def blocks(self) -> list[nn.Module]:
        """Layers of the tower and of the language model."""
        return layers(self.network)

    @torch.inference_mode()
    def loss(self, scenes: Sequence[Scene]) -> float:
        """Mean loss of the lessons, in nats a token."""
        self.network.eval()
        return float(torch.cat([self.losses(self.network, [one], 0) for one in scenes]).mean())

    def losses(self, network: nn.Module, scenes: Sequence[Scene], seed: int) -> Tensor:
        """The loss of each lesson; see `student.models.protocol.Trainable`."""
        del seed  # nothing is left to chance here
        rows = [self._row(scene.view, one) for scene in scenes for one in scene.lessons]
        inputs, labels = self._together(rows)
        with self.autocast():
            logits = network(**inputs).logits[:, :-1]
        wanted = labels[:, 1:]
        return per_text(logits[wanted != IGNORED], wanted)

    @torch.inference_mode()
    def answer(self, ask: Ask, listener: Listener | None = None) -> Answer:
        """Answer about the regions that are marked or told."""
        began = time.perf_counter()
        self.network.eval()
        encoded = self._encoded(ask.view, ask.question or _ASK, ask.turns)
        told = {name: value.to(self.device) for name, value in encoded.items()}
        before = told["input_ids"].shape[1]
        with self.autocast():
            made = self.network.generate(
                **told,
                max_new_tokens=_LONGEST_ANSWER,
                do_sample=False,
                streamer=Telling(self.tokenizer, listener, before) if listener else None,
            )[0]
        text = self.tokenizer.decode(made[before:], skip_special_tokens=True)
        question = ask.question
        if question is None:
            question, _, text = text.partition("Answer:")
        return prompts.read(question, text, time.perf_counter() - began)

    def rank(self, asks: Sequence[Ask], choices: Sequence[Sequence[str]]) -> list[Scores]:
        """The mean likelihood of a token of each choice, as its logarithm."""
        self.network.eval()
        return ranked(lambda scenes: -self.losses(self.network, scenes, 0), asks, choices)

    def _row(self, seen: View, lesson: Lesson) -> tuple[Mapping[str, Tensor], list[int]]:
        """A lesson as its prompt encoded, and the tokens that are to be said after it."""
        target = prompts.said(lesson.answer, lesson.rationale).strip()
        if lesson.asks:
            target = f"{lesson.question} Answer: {target}"
        ids = self.tokenizer(target, add_special_tokens=False).input_ids
        question = _ASK if lesson.asks else lesson.question
        encoded = self._encoded(seen, question, lesson.turns)
        return encoded, [*ids, self.tokenizer.eos_token_id]

    def _encoded(self, seen: View, question: str, turns: Sequence[Turn]) -> Mapping[str, Tensor]:
        """A prompt in the model's own chat, with the picture before the first question."""
        said = [(question, answer) for question, answer in turns]
        chat: list[dict[str, Any]] = []
        for n, (asked, answered) in enumerate([*said, (question, None)]):
            words = f"{self._where(seen)}{asked}" if n == 0 else asked
            content = [{"type": "text", "text": words}]
            picture = [{"type": "image"}] if n == 0 else []
            chat.append({"role": "user", "content": [*picture, *content]})
            if answered is not None:
                part = {"type": "text", "text": answered}
                chat.append({"role": "assistant", "content": [part]})
        text = self._processor.apply_chat_template(chat, add_generation_prompt=True)
        found: Mapping[str, Tensor] = self._processor(
            text=[text], images=[seen.image], return_tensors="pt"
        )
        return found

    def _where(self, seen: View) -> str:
        if not seen.regions:
            return ""
        if self._style is not None:
            named = " ".join(f"[{region.number}]" for region in seen.regions)
            return f"Regions {named} are marked by their numbers. "
        size, family = seen.image.size, self._family
        told = "; ".join(
            f'[{one.number}] {{"bbox_2d": {box_format.written(one.box, size, family)}}}'
            for one in seen.regions
        )
        return f"Regions: {told}. "

    def _together(
        self, rows: Sequence[tuple[Mapping[str, Tensor], list[int]]]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Prompts and what follows them as one batch, with padding behind; and its labels."""
        longest = max(row["input_ids"].shape[1] + len(after) for row, after in rows)
        labels = torch.full((len(rows), longest), IGNORED)
        parts: dict[str, list[Tensor]] = {name: [] for name in rows[0][0]}
        for n, (row, after) in enumerate(rows):
            before = row["input_ids"].shape[1]
            labels[n, before : before + len(after)] = torch.tensor(after)
            for name, value in row.items():
                if value.shape[:2] != row["input_ids"].shape:
                    parts[name].append(value)
                    continue
                whole = value.new_zeros(1, longest)
                whole[:, :before] = value
                if name == "input_ids":
                    whole[0, before : before + len(after)] = torch.tensor(after)
                elif name == "attention_mask":
                    whole[0, before : before + len(after)] = 1
                parts[name].append(whole)
        inputs = {name: torch.cat(values).to(self.device) for name, values in parts.items()}
        return inputs, labels.to(self.device)

    def autocast(self) -> AbstractContextManager[object]:
        """In which numbers it computes."""
        return autocast(self.settings.precision, self.device)


def _base(name: str) -> tuple[Any, Any]:
    processor = processor_of(name, _GIVE)
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    return from_pretrained(AutoModelForImageTextToText, name, _GIVE, dtype=dtype), processor
