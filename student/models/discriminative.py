"""The paper's student: a BLIP-2 that matches pictures and texts, whose Q-Former learns.

It ranks answers by whether the picture and the whole text belong together, and writes them as
captions. `tiny` is made here; any retrieval model of transformers comes by name or folder.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, Blip2ForImageTextRetrieval
from transformers.utils import logging

from blip2.model.encoder import Encoder, to_pixel_values
from blip2.training import distributed
from blip2.training.loading import from_pretrained
from student.asking.streaming import Telling
from student.models import prompts
from student.models.blip2 import OnBlip2
from student.models.freezing import freeze, layers
from student.models.matching_network import Matcher, Pairs
from student.models.protocol import Answer, Ask, Lesson, Lessons, Listener, Scene, Schedule, Scores
from student.models.ranking import ranked
from student.settings import TrainSettings
from student.training.losses import padded
from student.training.trainer import learn

logging.disable_progress_bar()  # a command has one of its own, a page needs none
logging.set_verbosity_error()

_GIVE = "give a BLIP-2 for retrieval, such as Salesforce/blip2-itm-vit-g, a folder, or tiny"
_LONGEST_ANSWER = 90
"""Tokens."""

About = frozenset[tuple[int, int]]


class Discriminative(OnBlip2[Matcher]):
    """See the module; it satisfies `student.models.protocol.Trainable`."""

    writes = False

    def __init__(
        self,
        model: Blip2ForImageTextRetrieval,
        tokenizer: Any,  # noqa: ANN401 - transformers' tokenizers share no typed base
        settings: TrainSettings,
    ) -> None:
        self.tokenizer = tokenizer
        encoder = Encoder(model)
        encoder.gradient_checkpointing = settings.frugal
        network = Matcher(encoder)
        freeze(network, but=lambda name: "vision_model." not in name)
        super().__init__(network, model.config.vision_config, settings)
        self._start = tokenizer.bos_token_id
        self._first = tokenizer.cls_token_id or self._start
        self._end = tokenizer.sep_token_id or tokenizer.eos_token_id

    @classmethod
    def made(cls, base: tuple[Any, Any], settings: TrainSettings) -> Self:
        """A tiny base that has learned to see, ready to learn."""
        return cls(*base, settings)

    @classmethod
    def named(cls, name: str, settings: TrainSettings) -> Self:
        """A pretrained model; UserError where there is none of that name."""
        tokenizer = from_pretrained(AutoTokenizer, name, _GIVE)
        if tokenizer.bos_token_id is None:  # BLIP-2's own have it, BERT's plain ones do not
            tokenizer.add_special_tokens({"bos_token": "[DEC]"})
        return cls(from_pretrained(Blip2ForImageTextRetrieval, name, _GIVE), tokenizer, settings)

    def whole(self, folder: Path) -> None:
        """Write it so that transformers alone can load it; what captions stays behind."""
        self.network.encoder.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def fit(self, lessons: Lessons, schedule: Schedule) -> None:
        """See `student.training.trainer`."""
        learn(self, lessons, schedule)

    def blocks(self) -> list[nn.Module]:
        """Layers of the tower; those of the Q-Former are taken apart in a pass."""
        return layers(self.network.encoder.model.vision_model)

    @torch.inference_mode()
    def loss(self, scenes: Sequence[Scene]) -> float:
        """Mean loss of the lessons as captions, in nats a token."""
        self.network.eval()
        return float(torch.cat([self._captions([scene]) for scene in scenes]).mean())

    def losses(self, network: nn.Module, scenes: Sequence[Scene], seed: int) -> Tensor:
        """The loss of each lesson; see `student.models.protocol.Trainable`."""
        lessons = [lesson for scene in scenes for lesson in scene.lessons]
        pictures = distributed.all_gather_lists([(scene.image_id, scene.shown) for scene in scenes])
        counts = distributed.all_gather_lists([len(scene.lessons) for scene in scenes])
        about = [scene.image_id for scene in scenes for _ in scene.lessons]
        mine = [(i, one.key, one.about) for i, one in zip(about, lessons, strict=True)]
        texts = distributed.all_gather_lists(mine)
        shares = distributed.all_gather_lists([len(mine)])
        first = sum(shares[: distributed.rank()])
        own = np.repeat(np.arange(len(pictures)), counts)
        rngs = [np.random.default_rng([seed % 2**32, one.key % 2**32]) for one in lessons]
        pairs = Pairs(
            self._ids([text_of(lesson) for lesson in lessons]),
            self._start,
            first,
            self._tensor(own[first : first + len(mine)]),
            self._tensor(
                np.array([[is_false(i, said, *one) for one in pictures] for i, _, said in texts])
            ),
            self._tensor(_noise(rngs, [(i, shown) for i, shown in pictures])),
            self._tensor(_noise(rngs, [(key, sorted(said)) for _, key, said in texts])),
        )
        with self.autocast():
            found: Tensor = network(self._pixels(scenes), pairs)
        return found

    @torch.inference_mode()
    def answer(self, ask: Ask, listener: Listener | None = None) -> Answer:
        """The likeliest caption that goes on from the question, word by word."""
        began = time.perf_counter()
        self.network.eval()
        words = f"{ask.question} Answer:" if ask.question else ""
        before = self.tokenizer(words, add_special_tokens=False).input_ids
        ids = [self._first, *before]
        telling = Telling(self.tokenizer, listener) if listener and ask.question else None
        with self.autocast():
            seen = self.network.encoder.encode_image(
                to_pixel_values([ask.view.image]).to(self.device)
            )
            for _ in range(_LONGEST_ANSWER):
                row = torch.tensor([ids], device=self.device)
                logits = self.network.next_words(
                    seen, row, torch.ones_like(row), self._start, torch.zeros_like(row[:, 0])
                )
                scores = logits[0, -1].float()
                scores[_repeated(ids)] = -torch.inf
                word = int(scores.argmax())
                if word == self._end:
                    break
                ids.append(word)
                if telling:
                    telling.put(torch.tensor([word]))
        text = self.tokenizer.decode(ids[1 + len(before) :], skip_special_tokens=True)
        question = ask.question
        if question is None:
            question, _, text = text.partition("Answer:")
        return prompts.read(question, text, time.perf_counter() - began)

    def rank(self, asks: Sequence[Ask], choices: Sequence[Sequence[str]]) -> list[Scores]:
        """How much likelier a picture and a text match than not, as the logarithm of the odds."""
        self.network.eval()
        return ranked(self._odds, asks, choices)

    def _odds(self, scenes: Sequence[Scene]) -> Tensor:
        seen, ids, of = self._seen(scenes)
        with self.autocast():
            logits = self.network.match(seen, ids, (ids != 0).long(), of).float()
        return logits[:, 1] - logits[:, 0]

    def _captions(self, scenes: Sequence[Scene]) -> Tensor:
        seen, ids, of = self._seen(scenes)
        with self.autocast():
            return self.network.caption(seen, ids, (ids != 0).long(), self._start, of)

    def _seen(self, scenes: Sequence[Scene]) -> tuple[Tensor, Tensor, Tensor]:
        """What the tower makes of each picture, the texts, and which picture each is about."""
        counts = torch.tensor([len(scene.lessons) for scene in scenes], device=self.device)
        of = torch.arange(len(scenes), device=self.device).repeat_interleave(counts)
        with self.autocast():
            seen = self.network.encoder.encode_image(self._pixels(scenes))
        texts = [text_of(lesson) for scene in scenes for lesson in scene.lessons]
        return seen, self._ids(texts), of

    def _pixels(self, scenes: Sequence[Scene]) -> Tensor:
        return to_pixel_values([scene.view.image for scene in scenes]).to(self.device)

    def _ids(self, texts: Sequence[str]) -> Tensor:
        """Texts between their first and last token; those that are too long are counted."""
        longest = self.network.encoder.max_tokens - 2
        rows = self.tokenizer(list(texts), add_special_tokens=False).input_ids
        self.notes["texts longer than the model reads"] += sum(len(row) > longest for row in rows)
        whole = [[self._first, *row[:longest], self._end] for row in rows]
        return padded(whole, 0).to(self.device)

    def _tensor(self, array: Any) -> Tensor:  # noqa: ANN401 - an array of any numbers
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def text_of(lesson: Lesson) -> str:
    """A lesson as one text, as the released student reads it; dialogue stands before it.

    >>> text_of(Lesson(1, "Why?", "To rest."))
    'Why? Answer: To rest.'
    """
    before = "".join(f"{question} Answer: {answer} " for question, answer in lesson.turns)
    why = f" Rationale: {lesson.rationale}" if lesson.rationale else ""
    return f"{before}{lesson.question} Answer: {lesson.answer}{why}".strip()


def is_false(image: int, about: About, other: int, shown: Sequence[int]) -> bool:
    """Whether a text of an image is a negative of a picture: of another image, or another drawing.

    On a drawing of its own image it is false where its numbers are other regions there. Where they
    are the same, or it names none, it is as true as on its own picture.

    >>> about = frozenset({(0, 7)})
    >>> is_false(1, about, 1, (7, 3)), is_false(1, about, 1, (3, 7)), is_false(1, about, 2, (7,))
    (False, True, True)
    """
    if image != other:
        return True
    return any(number >= len(shown) or shown[number] != region for number, region in about)


def _noise(rngs: Sequence[np.random.Generator], names: Sequence[Any]) -> Any:  # noqa: ANN401 - an array
    """Gumbel noise (rows, names): by name, so that it is the same in whatever order they come."""
    order = sorted(range(len(names)), key=lambda n: names[n])
    found = np.empty((len(rngs), len(names)), np.float32)
    for row, rng in zip(found, rngs, strict=True):
        row[order] = rng.gumbel(size=len(names))
    return found


def _repeated(ids: Sequence[int], size: int = 4) -> list[int]:
    """Words that would make four in a row that were there before."""
    end = tuple(ids[-size + 1 :])
    rows = (tuple(ids[n : n + size]) for n in range(len(ids) - size + 1))
    return [row[-1] for row in rows if row[:-1] == end]
