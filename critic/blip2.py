"""The paper's critic: a BLIP-2 whose Q-Former learns to accept, with the tower frozen.

The head of image-text matching, averaged over the queries, says accept or reject; two more heads
judge question-and-answer, and the rationale, each by its own labels. Marks are drawn at the size
that the model sees. `tiny` is made here; any retrieval model of transformers comes by name or
folder.
"""

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoTokenizer, Blip2ForImageTextRetrieval
from transformers.utils import logging

from blip2 import tiny
from blip2.encoder import Encoder, pixels
from blip2.loading import pretrained
from critic.losses import loss
from critic.protocol import Example, Progress, Scores, Verdict
from critic.settings import TINY, Blip2Settings
from critic.thresholds import average_precision
from regions import references
from regions.errors import UserError
from regions.marks import Style
from regions.view import View, choose_shown, view

logging.disable_progress_bar()  # a command has one of its own, a page needs none
logging.set_verbosity_error()

ABOUT, LEARNED, HEADS = "blip2.json", "learned.safetensors", "heads.safetensors"
_GIVE = "give a BLIP-2 for retrieval, such as Salesforce/blip2-itm-vit-g, or tiny"
_RATE, _TINY_RATE = 1e-5, 5e-4
_HELD_OUT = 0.1
"""Share of the images on which training watches when to stop."""
_LEAST_IMAGES = 20
"""Fewer than these, and all of them are learned from."""
_TEXTS = 16
"""Texts of one picture read together."""


class Heads(nn.Module):
    """What is read from the queries: whether each part of a triple is sound."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.qa_head = _head(hidden)
        self.r_head = _head(hidden)

    def forward(self, read: Tensor) -> Tensor:
        """Shape (triples, queries, hidden) -> (triples, 2): question-and-answer, rationale."""
        found = [head(read).sigmoid().mean(dim=1) for head in (self.qa_head, self.r_head)]
        return torch.cat(found, dim=1)


def _head(hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))


@dataclass(frozen=True, slots=True)
class Lesson:
    """A triple as it was drawn once, and what people say of it."""

    seen: View
    accepted: int
    sound: tuple[float, float]


class Blip2Critic:
    """See the module; it satisfies `critic.protocol.Critic`."""

    def __init__(
        self,
        model: Blip2ForImageTextRetrieval,
        tokenizer: Any,  # noqa: ANN401 - transformers' tokenizers share no typed base
        settings: Blip2Settings,
    ) -> None:
        if settings.style not in get_args(Style):
            raise UserError(f"no style {settings.style!r}", todo="use numbered or lskd")
        self._style: Style = "lskd" if settings.style == "lskd" else "numbered"
        self.settings, self.tokenizer = settings, tokenizer
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.encoder = Encoder(model).to(self.device)
        self.heads = Heads(self.encoder.hidden).to(self.device)
        side = settings.size or int(model.config.vision_config.image_size)
        self.size = side, side
        self.notes: dict[str, int] = {}
        """What happened on the way: texts cut, epochs, a batch halved."""
        for name, weight in self.encoder.named_parameters():
            # The tower stays as it is, but one made here from nothing has to learn to see.
            frozen = ".vision_model." in f".{name}" and settings.model != TINY
            weight.requires_grad_(not frozen)

    @classmethod
    def new(cls, settings: Blip2Settings, texts: Sequence[str], seed: int) -> Self:
        """The model that is named, ready to learn; `tiny` learns its tokens from `texts`."""
        torch.manual_seed(seed)
        if settings.model == TINY:
            tokenizer = tiny.tokenizer_of(texts)
            return cls(tiny.retrieval_of(tokenizer, seed=seed), tokenizer, settings)
        made = cls(*load_base(settings.model), settings)
        if (heads := Path(settings.model) / HEADS).is_file():
            made.heads.load_state_dict(load_file(heads))
        return made

    def fit(
        self,
        examples: Sequence[Example],
        verdicts: Sequence[Verdict],
        rng: np.random.Generator,
        progress: Progress = lambda *_: None,
    ) -> None:
        """Learn until average precision on images held out stops rising; the best state is kept.

        UserError as soon as a loss is not finite.
        """
        learn, watch = _held_out(examples, rng)
        learning = [w for w in self._parameters() if w.requires_grad]
        rate = self.settings.rate or (_TINY_RATE if self.settings.model == TINY else _RATE)
        optimizer = torch.optim.AdamW(learning, lr=rate, weight_decay=0.05)
        best, best_at, best_state = -1.0, 0, self._learned()
        for epoch in range(1, self.settings.epochs + 1):
            self._train()
            for batch in self._lessons(examples, verdicts, learn, rng):
                self._step(batch, optimizer, learning)
            found = self._watched(examples, verdicts, watch) if len(watch) else float(epoch)
            if found > best:
                best, best_at, best_state = found, epoch, self._learned()
            progress(epoch, self.settings.epochs)
            if len(watch) and epoch - best_at >= self.settings.patience:
                break
        self._restore(best_state)
        self.notes["epochs"] = best_at
        self._eval()

    def score(self, examples: Sequence[Example]) -> Scores:
        """The probability of acceptance; a picture with the same regions drawn is seen once."""
        self._eval()
        scores = np.zeros(len(examples))
        for members, group in self._groups(examples):
            logits, _ = self._judge(group, [view_ for _, view_ in members])
            scores[[n for n, _ in members]] = logits
        return scores

    def save(self, folder: Path) -> None:
        """Write what learned into `folder`; of `tiny` the base and the tokens too."""
        if self.settings.model == TINY:
            self.encoder.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        else:
            save_file(_state(self.encoder), folder / LEARNED)
        save_file(_state(self.heads), folder / HEADS)
        (folder / ABOUT).write_text(json.dumps(asdict(self.settings)), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` or a conversion wrote; nothing in the files can run.

        UserError where the base is gone, or is another one.
        """
        settings = Blip2Settings(**json.loads((folder / ABOUT).read_text("utf-8")))
        has_base = (folder / "config.json").is_file()
        made = cls(*load_base(str(folder) if has_base else settings.model), settings)
        made.heads.load_state_dict(load_file(folder / HEADS))
        if not has_base:
            _, unexpected = made.encoder.load_state_dict(load_file(folder / LEARNED), strict=False)
            if unexpected:
                raise UserError(f"the base lacks {unexpected[0]}", where=settings.model)
        made._eval()
        return made

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a folder holds a critic of this kind."""
        return (folder / ABOUT).is_file()

    def _lessons(
        self,
        examples: Sequence[Example],
        verdicts: Sequence[Verdict],
        chosen: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> Iterator[list[Lesson]]:
        """One round of batches: the triple's own regions or all, in any order, ids following."""
        order = rng.permutation(chosen)
        for start in range(0, len(order), self.settings.batch):
            yield [
                self._lesson(examples[n], verdicts[n], rng)
                for n in order[start : start + self.settings.batch]
            ]

    def _lesson(self, example: Example, verdict: Verdict, rng: np.random.Generator) -> Lesson:
        said = f"{example.question} {example.answer} {example.rationale}"
        own = references.mentioned(said)
        shown = choose_shown(own, example.shown, own=self.settings.own, rng=rng)
        sound = [float("nan") if part is None else float(part) for part in verdict[1:]]
        return Lesson(self._view(example, shown), int(verdict.accept), (sound[0], sound[1]))

    def _view(self, example: Example, shown: Sequence[int]) -> View:
        texts = example.question, example.answer, example.rationale
        return view(
            example.image.picture(),
            list(example.image.regions.values()),
            texts,
            shown=shown,
            size=self.size,
            style=self._style,
        )

    def _step(
        self, batch: list[Lesson], optimizer: torch.optim.Optimizer, learning: Sequence[Tensor]
    ) -> None:
        """One step, in pieces that fit into memory."""
        optimizer.zero_grad()
        for start in range(0, len(batch), self.settings.piece):
            piece = batch[start : start + self.settings.piece]
            seen = self._see([lesson.seen for lesson in piece])
            read = self.encoder.read(seen, *self._tokens([lesson.seen for lesson in piece]))
            accepted = torch.tensor([lesson.accepted for lesson in piece], device=self.device)
            sound = torch.tensor([lesson.sound for lesson in piece], device=self.device)
            found, _ = loss(self.encoder.match(read), self.heads(read), accepted, sound)
            if not torch.isfinite(found):
                raise UserError(f"the loss is {found.item()}", todo="use a lower --rate")
            (found * (len(piece) / len(batch))).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()

    def _see(self, views: Sequence[View]) -> Tensor:
        return self.encoder.see(pixels([one.image for one in views]).to(self.device))

    def _tokens(self, views: Sequence[View]) -> tuple[Tensor, Tensor]:
        """Texts as `text_of` writes them; those longer than the model reads are counted."""
        texts = [text_of(*one.texts) for one in views]
        encoded = self.tokenizer(
            texts, return_tensors="pt", padding=True, return_token_type_ids=False
        )
        longest = self.encoder.longest
        if encoded["input_ids"].shape[1] > longest:
            cut = int((encoded["attention_mask"][:, longest:].sum(1) > 0).sum())
            self.notes["texts longer than the model reads"] = (
                self.notes.get("texts longer than the model reads", 0) + cut
            )
        ids, mask = encoded["input_ids"][:, :longest], encoded["attention_mask"][:, :longest]
        return ids.to(self.device), mask.to(self.device)

    def _groups(
        self, examples: Sequence[Example]
    ) -> Iterator[tuple[list[tuple[int, View]], list[int]]]:
        """Examples that share pictures, some pictures at a time.

        Each member is the place of an example and its view; beside them, for each picture the
        number of its members, which is the same for all of them but for repeats at the end.
        """
        by_picture: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        for n, example in enumerate(examples):
            by_picture.setdefault((example.image_id, example.shown), []).append(n)
        pieces = [
            places[start : start + _TEXTS]
            for places in by_picture.values()
            for start in range(0, len(places), _TEXTS)
        ]
        pieces.sort(key=len)
        for start in range(0, len(pieces), self.settings.pictures):
            some = pieces[start : start + self.settings.pictures]
            longest = max(map(len, some))
            members = []
            for places in some:
                first = self._view(examples[places[0]], examples[places[0]].shown)
                views = [first, *(self._same(first, examples[n]) for n in places[1:])]
                members += list(zip(places, views, strict=True))
                # Repeats make each picture's texts as many: their scores are the same again.
                members += [(places[-1], views[-1])] * (longest - len(places))
            yield members, [longest] * len(some)

    def _same(self, seen: View, example: Example) -> View:
        """Another triple about a picture that is drawn already."""
        mapping = {old: new for new, old in enumerate(example.shown)}
        texts = example.question, example.answer, example.rationale
        return View(
            seen.image,
            seen.regions,
            tuple(references.renumber(text, mapping) for text in texts),
        )

    @torch.inference_mode()
    def _judge(
        self, counts: Sequence[int], views: Sequence[View]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares of acceptance, shape (triples,), and of the parts, shape (triples, 2)."""
        seen = self._see(views[:: counts[0]])
        read = self.encoder.read(seen, *self._tokens(views))
        shares = self.encoder.match(read).float().softmax(1)[:, 1]
        return shares.cpu().numpy().astype(float), self.heads(read).cpu().numpy().astype(float)

    def _watched(
        self, examples: Sequence[Example], verdicts: Sequence[Verdict], watch: NDArray[np.int64]
    ) -> float:
        scores = self.score([examples[n] for n in watch])
        return average_precision([verdicts[n].accept for n in watch], scores)

    def _parameters(self) -> Iterator[nn.Parameter]:
        yield from self.encoder.parameters()
        yield from self.heads.parameters()

    def _learned(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return _state(self.encoder), _state(self.heads)

    def _restore(self, state: tuple[dict[str, Tensor], dict[str, Tensor]]) -> None:
        self.encoder.load_state_dict(state[0], strict=False)
        self.heads.load_state_dict(state[1])

    def _train(self) -> None:
        self.encoder.train()
        if self.settings.model != TINY:
            self.encoder.model.vision_model.eval()
        self.heads.train()

    def _eval(self) -> None:
        self.encoder.eval()
        self.heads.eval()


def text_of(question: str, answer: str, rationale: str) -> str:
    """A triple as one text, as the released critic reads it."""
    return f"{question} Answer: {answer} Rationale: {rationale}"


def _state(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights that learn."""
    return {
        name: copy.deepcopy(weight.detach()).contiguous().cpu()
        for name, weight in module.named_parameters()
        if weight.requires_grad
    }


def load_base(name: str) -> tuple[Blip2ForImageTextRetrieval, Any]:
    """A model and its tokenizer, by name or folder; UserError where there is none."""
    tokenizer = pretrained(AutoTokenizer, name, _GIVE)
    return pretrained(Blip2ForImageTextRetrieval, name, _GIVE), tokenizer


def _held_out(
    examples: Sequence[Example], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which examples are learned from and which are watched, by image."""
    images = np.array([example.image_id for example in examples])
    known = np.unique(images)
    count = round(_HELD_OUT * len(known)) if len(known) >= _LEAST_IMAGES else 0
    watched = np.isin(images, rng.permutation(known)[:count])
    return np.flatnonzero(~watched), np.flatnonzero(watched)
