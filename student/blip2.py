"""A BLIP-2 that speaks: the Q-Former, its queries and the projection learn, all else is frozen.

`tiny` is made here; any other `Blip2ForConditionalGeneration` comes by name or folder. What learned
is saved, and of `tiny` the base too, which is nowhere else.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, Blip2ForConditionalGeneration
from transformers.utils import logging

from blip2 import tiny
from blip2.encoder import pixels
from blip2.loading import pretrained
from regions.errors import UserError
from student import prompts
from student.protocol import Answer, Lesson
from student.settings import TINY

logging.disable_progress_bar()  # a command has one of its own, a page needs none
logging.set_verbosity_error()

_LEARN = ("query_tokens", "qformer.", "language_projection.")
_LONGEST_ANSWER, _LONGEST_QUESTION = 90, 30
"""Tokens."""


class Blip2Student:
    """See the module; `base` is `tiny`, a name or a folder."""

    def __init__(self, model: Blip2ForConditionalGeneration, tokenizer: Any, base: str) -> None:  # noqa: ANN401 - transformers' tokenizers share no typed base
        self.model, self.tokenizer, self.base = model, tokenizer, base
        for name, weight in model.named_parameters():
            weight.requires_grad_(name.startswith(_LEARN))
        self.device = next(model.parameters()).device

    @classmethod
    def tiny(
        cls, texts: Sequence[str], *, steps: int, seed: int, progress: Callable[[int], None]
    ) -> "Blip2Student":
        """A new tiny base that has learned the language of `texts`."""
        tokenizer = tiny.tokenizer_of(texts)
        model = tiny.model_of(tokenizer, seed=seed)
        tiny.learn_language(model, tokenizer, texts, steps=steps, seed=seed, progress=progress)
        return cls(model, tokenizer, TINY)

    @classmethod
    def named(cls, name: str) -> "Blip2Student":
        """A pretrained BLIP-2, in bfloat16 on a GPU; UserError where there is none of that name."""
        gpu = torch.cuda.is_available()
        give = "give a BLIP-2 of the model hub by name, a folder that holds one, or tiny"
        tokenizer = pretrained(AutoTokenizer, name, give)
        dtype = torch.bfloat16 if gpu else torch.float32
        model = pretrained(Blip2ForConditionalGeneration, name, give, dtype=dtype)
        if model.config.image_token_index is None:
            raise UserError(f"{name!r} has no image token", todo="use a newer checkpoint")
        return cls(model.to("cuda" if gpu else "cpu"), tokenizer, name)

    @classmethod
    def load(cls, folder: Path) -> "Blip2Student":
        """The student that `save` wrote."""
        try:
            base = json.loads((folder / "student.json").read_text("utf-8"))["base"]
            student = cls.named(str(folder / "base") if base == TINY else base)
            student.base = base
            learned = load_file(folder / "learned.safetensors")
        except (OSError, KeyError, json.JSONDecodeError) as error:
            raise UserError("no student is saved here", where=str(folder)) from error
        _, unexpected = student.model.load_state_dict(learned, strict=False)
        if unexpected:
            raise UserError(f"the base lacks {unexpected[0]}", where=str(folder))
        return student

    def save(self, folder: Path) -> None:
        """Write the weights that learned; of `tiny` the base too."""
        learned = {
            name: weight.detach().contiguous().cpu()
            for name, weight in self.model.named_parameters()
            if weight.requires_grad
        }
        save_file(learned, folder / "learned.safetensors")
        if self.base == TINY:
            self.model.save_pretrained(folder / "base")
            self.tokenizer.save_pretrained(folder / "base")
        (folder / "student.json").write_text(json.dumps({"base": self.base}), "utf-8")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        side = self.model.config.vision_config.image_size
        return side, side

    def parameters(self) -> tuple[int, int]:
        """How many weights learn, and how many are frozen."""
        sizes = [(w.numel(), w.requires_grad) for w in self.model.parameters()]
        learn = sum(n for n, learns in sizes if learns)
        return learn, sum(n for n, _ in sizes) - learn

    def fit(
        self,
        batches: Iterator[Sequence[Lesson]],
        *,
        steps: int,
        rate: float,
        progress: Callable[[int, float], None],
    ) -> float:
        """Learn; UserError as soon as a loss is not finite."""
        learning = [w for w in self.model.parameters() if w.requires_grad]
        optimizer = torch.optim.AdamW(learning, lr=rate, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
        self.model.eval()  # dropout in the frozen parts would only add noise
        self.model.qformer.train()
        losses: list[float] = []
        for step, lessons in zip(range(steps), batches, strict=False):
            loss = self._loss(lessons)
            if not torch.isfinite(loss):
                raise UserError(
                    f"the loss is {loss.item()} at step {step + 1}", todo="use a lower --rate"
                )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
            progress(step + 1, losses[-1])
        self.model.eval()
        return sum(losses[-20:]) / max(1, len(losses[-20:]))

    @torch.inference_mode()
    def loss(self, lessons: Sequence[Lesson]) -> float:
        """Mean loss a token of the targets, in nats."""
        self.model.eval()
        return float(self._loss(lessons))

    @torch.inference_mode()
    def answer(self, picture: Image, regions: int, question: str | None) -> Answer:
        """Answer about regions 0 to `regions` - 1, which are marked on the picture."""
        start = time.perf_counter()
        self.model.eval()
        if question is None:
            written = self._generate(
                picture, prompts.asking(regions), regions, _LONGEST_QUESTION, until="?"
            )
            question = written.split("?")[0].strip() + "?"
        prompt = prompts.answering(regions, question)
        generated = self._generate(picture, prompt, regions, _LONGEST_ANSWER)
        return prompts.read(question, generated, time.perf_counter() - start)

    def _generate(
        self, picture: Image, prompt: str, regions: int, longest: int, until: str | None = None
    ) -> str:
        """The likeliest continuation that repeats no four tokens and names no other region."""
        encoder_decoder = not self.model.config.use_decoder_only_language_model
        ids = self._image_tokens() + self.tokenizer(prompt).input_ids
        if not encoder_decoder and ids[-1] == self.tokenizer.eos_token_id:
            ids.pop()
        others = self._references(regions)
        generated = self.model.generate(
            pixel_values=self._pixels([picture]),
            input_ids=torch.tensor([ids], device=self.device),
            max_new_tokens=longest,
            do_sample=False,
            no_repeat_ngram_size=4,
            suppress_tokens=others or None,
            stop_strings=[until] if until else None,
            tokenizer=self.tokenizer if until else None,
        )[0]
        new = generated if encoder_decoder else generated[len(ids) :]
        text: str = self.tokenizer.decode(new, skip_special_tokens=True)
        return text

    def _references(self, regions: int) -> list[int]:
        """Tokens that name regions which are not shown, where a reference is one token."""
        known = self.tokenizer.get_vocab()
        names = (f"[{n}]" for n in range(regions, tiny.REGIONS))
        return [known[name] for name in names if name in known]

    def _image_tokens(self) -> list[int]:
        config = self.model.config
        return [config.image_token_index] * config.num_query_tokens

    def _pixels(self, pictures: Sequence[Image]) -> torch.Tensor:
        return pixels(pictures).to(self.device, self.model.vision_model.dtype)

    def _loss(self, lessons: Sequence[Lesson]) -> torch.Tensor:
        """Cross entropy of the targets given pictures and prompts."""
        if self.model.config.use_decoder_only_language_model:
            sequences, labels = self._decoder_only(lessons)
        else:
            sequences, labels = self._encoder_decoder(lessons)
        pad = self.tokenizer.pad_token_id
        ids = _padded(sequences, pad).to(self.device)
        loss: torch.Tensor = self.model(
            pixel_values=self._pixels([lesson.picture for lesson in lessons]),
            input_ids=ids,
            attention_mask=(ids != pad).long(),
            labels=_padded(labels, -100).to(self.device),
        ).loss
        return loss

    def _decoder_only(self, lessons: Sequence[Lesson]) -> tuple[list[list[int]], list[list[int]]]:
        """Picture, prompt and target in one sequence; only the target is learned."""
        sequences, labels = [], []
        for lesson in lessons:
            prompt = self._image_tokens() + self.tokenizer(lesson.prompt).input_ids
            target = self.tokenizer(lesson.target, add_special_tokens=False).input_ids
            target = [*target, self.tokenizer.eos_token_id]
            sequences.append(prompt + target)
            labels.append([-100] * len(prompt) + target)
        return sequences, labels

    def _encoder_decoder(
        self, lessons: Sequence[Lesson]
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Picture and prompt for the encoder, the target for the decoder (FlanT5)."""
        return (
            [self._image_tokens() + self.tokenizer(lesson.prompt).input_ids for lesson in lessons],
            [self.tokenizer(lesson.target).input_ids for lesson in lessons],
        )


def _padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])
