"""The paper's critic: a BLIP-2 whose Q-Former learns to accept, with the tower frozen.

The head of image-text matching, averaged over the queries, says accept or reject; two more heads
judge question-and-answer, and the rationale, each by its own labels. Marks are drawn at the size
that the model sees. `tiny` is made here; any retrieval model of transformers comes by name or
folder.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer, Blip2ForImageTextRetrieval
from transformers.utils import logging

from blip2.model import tiny
from blip2.model.encoder import Encoder, to_pixel_values
from blip2.training.devices import autocast, default_device
from blip2.training.loading import from_pretrained, load_errors
from blip2.training.memory import AdaptiveBatchSize
from critic.features.views import by_picture, pictures_ahead
from critic.models.network import Judge, state
from critic.models.protocol import Example, Notes, Scores, Verdict
from critic.settings import TINY, PictureSettings
from critic.training.trainer import learn
from regions.errors import UserError
from regions.marks import parse_style
from regions.progress import Progress, no_progress
from regions.view import View

logging.disable_progress_bar()  # a command has one of its own, a page needs none
logging.set_verbosity_error()

ABOUT, LEARNED, HEADS = "blip2.json", "learned.safetensors", "heads.safetensors"
_GIVE = "give a BLIP-2 for retrieval by --model, such as Salesforce/blip2-itm-vit-g, or tiny"


class Blip2Critic:
    """See the module; it satisfies `critic.models.protocol.Critic`."""

    def __init__(
        self,
        model: Blip2ForImageTextRetrieval,
        tokenizer: Any,  # noqa: ANN401 - transformers' tokenizers share no typed base
        settings: PictureSettings,
    ) -> None:
        self.settings, self.tokenizer = settings, tokenizer
        self.style = parse_style(settings.style)
        self.device = default_device()
        self.judge = Judge(Encoder(model), sees_already=settings.model != TINY).to(self.device)
        side = settings.size or int(model.config.vision_config.image_size)
        self.size = side, side
        self.notes = Notes()
        self._batch_size = self.adaptive(settings.pictures, "pictures at once")

    @classmethod
    def new(cls, settings: PictureSettings, texts: Sequence[str], seed: int) -> Self:
        """The model that is named, ready to learn; `tiny` learns its tokens from `texts`."""
        torch.manual_seed(seed)
        if settings.model == TINY:
            tokenizer = tiny.train_tokenizer(texts)
            return cls(tiny.tiny_retrieval(tokenizer, seed=seed), tokenizer, settings)
        folder = Path(settings.model)
        if cls.is_in(folder):
            return cls._read(folder, settings)
        return cls(*load_base(settings.model), settings)

    def fit(
        self,
        examples: Sequence[Example],
        verdicts: Sequence[Verdict],
        rng: np.random.Generator,
        progress: Progress = no_progress,
        keep: Path | None = None,
    ) -> None:
        """See `critic.training.trainer`."""
        learn(self, examples, verdicts, rng, progress, keep)

    def score(self, examples: Sequence[Example]) -> Scores:
        """The probability of acceptance; a picture with the same regions drawn is seen once."""
        self.judge.eval()
        scores = np.zeros(len(examples))
        for places, accept, _ in self.shares(examples):
            scores[places] = accept
        return scores

    def shares(
        self, examples: Sequence[Example]
    ) -> Iterator[tuple[list[int], NDArray[np.float64], NDArray[np.float64]]]:
        """Places of examples, their shares of acceptance (n,) and of both parts (n, 2).

        Pictures are drawn ahead. Those with as many texts go together, some at a time: fewer where
        a GPU has no room.
        """
        groups = sorted(by_picture(examples), key=len)
        views = pictures_ahead(examples, groups, self.size, self.style)
        for batch in self._batch_size.map(self._judged, zip(groups, views, strict=True)):
            yield from batch

    def _judged(
        self, batch: Sequence[tuple[list[int], list[View]]]
    ) -> list[tuple[list[int], NDArray[np.float64], NDArray[np.float64]]]:
        longest = max(len(places) for places, _ in batch)
        # Views are repeated so that each picture has as many texts; those scores are dropped.
        views = [views[min(k, len(views) - 1)] for _, views in batch for k in range(longest)]
        accept, parts = self._judge(views, longest)
        starts = [n * longest for n in range(len(batch))]
        slices = [
            slice(at, at + len(places)) for at, (places, _) in zip(starts, batch, strict=True)
        ]
        return [(places, accept[s], parts[s]) for (places, _), s in zip(batch, slices, strict=True)]

    @torch.inference_mode()
    def _judge(
        self, views: Sequence[View], each: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares of acceptance and of the parts; the picture changes with every `each` views."""
        with self.autocast():
            logits, parts = self.judge(self.pixels(views[::each]), *self.tokens(views))
        accept = logits.float().softmax(1)[:, 1]
        return accept.cpu().double().numpy(), parts.float().cpu().double().numpy()

    def save(self, folder: Path) -> None:
        """Write what learned into `folder`; of `tiny` the base and the tokens too."""
        if self.settings.model == TINY:
            self.judge.encoder.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        else:
            save_file(state(self.judge.encoder), folder / LEARNED)
        save_file(state(self.judge.heads), folder / HEADS)
        (folder / ABOUT).write_text(json.dumps(asdict(self.settings)), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` or a conversion wrote; nothing in the files can run.

        UserError where the base is gone, or is another one.
        """
        return cls._read(folder, settings_in(folder))

    @classmethod
    def _read(cls, folder: Path, settings: PictureSettings) -> Self:
        has_base = (folder / "config.json").is_file()
        base = str(folder) if has_base else settings_in(folder).model
        made = cls(*load_base(base), settings)
        with load_errors("the critic", folder):
            made.judge.heads.load_state_dict(load_file(folder / HEADS))
            if not has_base:
                learned = load_file(folder / LEARNED)
                _, unexpected = made.judge.encoder.load_state_dict(learned, strict=False)
                if unexpected:
                    raise UserError(f"the base lacks {unexpected[0]}", where=base)
        made.judge.eval()
        return made

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a folder holds a critic of this kind."""
        return (folder / ABOUT).is_file()

    def pixels(self, views: Sequence[View]) -> Tensor:
        """Pictures as the tower takes them."""
        return to_pixel_values([one.image for one in views]).to(self.device)

    def tokens(self, views: Sequence[View]) -> tuple[Tensor, Tensor]:
        """Texts as `text_of` writes them; those longer than the model reads are counted."""
        texts = [text_of(*one.texts) for one in views]
        encoded = self.tokenizer(
            texts, return_tensors="pt", padding=True, return_token_type_ids=False
        )
        longest = self.judge.encoder.max_tokens
        if encoded["input_ids"].shape[1] > longest:
            cut = int((encoded["attention_mask"][:, longest:].sum(1) > 0).sum())
            self.notes["texts longer than the model reads"] += cut
        ids, mask = encoded["input_ids"][:, :longest], encoded["attention_mask"][:, :longest]
        return ids.to(self.device), mask.to(self.device)

    def autocast(self) -> AbstractContextManager[object]:
        """In which numbers it computes: bfloat16 inside, float32 where that is needed."""
        return autocast(self.settings.precision, self.device)

    def adaptive(self, size: int, what: str) -> AdaptiveBatchSize:
        """A batch size that is halved when the GPU is full, which is noted."""
        note = partial(self.notes.__setitem__, f"{what}, as many as fit")
        hint = "use --precision bf16, or less --size"
        return AdaptiveBatchSize(size, hint=hint, on_halved=note)


def text_of(question: str, answer: str, rationale: str) -> str:
    """A triple as one text, as the released critic reads it."""
    return f"{question} Answer: {answer} Rationale: {rationale}"


def settings_in(folder: Path) -> PictureSettings:
    """With which settings a critic was saved; UserError where another version wrote them."""
    try:
        return PictureSettings(**json.loads((folder / ABOUT).read_text("utf-8")))
    except (TypeError, ValueError) as error:
        raise UserError(
            "another version wrote this critic", where=str(folder), hint="train it anew"
        ) from error


def load_base(name: str) -> tuple[Blip2ForImageTextRetrieval, Any]:
    """A model and its tokenizer, by name or folder; UserError where there is none."""
    if not name:
        raise UserError("a critic that looks needs a model", hint=_GIVE)
    tokenizer = from_pretrained(AutoTokenizer, name, _GIVE)
    return from_pretrained(Blip2ForImageTextRetrieval, name, _GIVE), tokenizer
