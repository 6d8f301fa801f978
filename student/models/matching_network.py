"""The network of a BLIP-2 that matches: contrast, matching and captioning at once.

BLIP-2's first stage (Li et al. 2023, section 3.1), for texts that point at regions: several texts
may be true of a picture, and a text is no negative of a picture on which it is true.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from blip2.model.encoder import Encoder
from blip2.training import distributed
from student.training.losses import IGNORED, per_text

_SMOOTHING = 0.1
_WARMEST, _COLDEST = 0.0, math.log(1000)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Texts of this process, and how they stand to the texts and pictures of all processes."""

    ids: Tensor
    """(texts, tokens), 0s behind."""
    start: int
    """The token that captions begin with."""
    first: int
    """Which of all texts is the first of these."""
    own: Tensor
    """(texts,) which of all pictures each text is about."""
    negative: Tensor
    """(all texts, all pictures) whether a text is false of a picture."""
    picture_noise: Tensor
    """(texts, all pictures) Gumbel noise, which chooses a hard negative."""
    text_noise: Tensor
    """(texts, all texts) the same."""


class Captioner(nn.Module):
    """Words out of what the Q-Former has written: BERT's head, whose last layer are the words."""

    def __init__(self, hidden: int, words: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(words))

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        """Shape (..., hidden) -> (..., words)."""
        found: Tensor = self.norm(nn.functional.gelu(self.dense(hidden))) @ embeddings.T
        return found + self.bias


class Matcher(nn.Module):
    """An encoder with its stock heads, and what captions."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.captioner = Captioner(encoder.hidden_size, len(self._embeddings))
        self.coldness = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        """Logarithm of the inverse temperature of contrast."""

    @property
    def _embeddings(self) -> Tensor:
        found: Tensor = self.encoder.model.embeddings.word_embeddings.weight
        return found

    def forward(self, pixels: Tensor, pairs: Pairs) -> Tensor:
        """The loss of each text: contrast + matching + captioning, shape (texts,)."""
        with torch.no_grad():
            seen = self.encoder.encode_image(pixels)
            everything, first = distributed.all_gather_rows(seen)
        mask = (pairs.ids != 0).long()
        contrast, to_pictures, to_texts = self._contrast(seen, mask, pairs, first)
        matching = self._matching(everything, pairs, to_pictures, to_texts)
        captioning = self.caption(everything, pairs.ids, mask, pairs.start, pairs.own)
        return contrast + matching + captioning

    def _contrast(
        self, seen: Tensor, mask: Tensor, pairs: Pairs, first: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Each text against all pictures, its picture against all texts; and both likenesses."""
        model, texts = self.encoder.model, torch.arange(len(pairs.ids), device=seen.device)
        queries = normalize(model.vision_projection(self.encoder.query_image(seen)).float(), dim=-1)
        words = self.encoder.encode_text(pairs.ids, mask)[:, 0]
        words = normalize(model.text_projection(words).float(), dim=-1)
        all_queries, _ = distributed.all_gather_rows(queries)
        all_words, _ = distributed.all_gather_rows(words)
        cold = self.coldness.clamp(_WARMEST, _COLDEST).exp()
        to_pictures = torch.einsum("td,pqd->tpq", words, all_queries).amax(2) * cold
        mine = queries[pairs.own - first]
        to_texts = torch.einsum("tqd,sd->tsq", mine, all_words).amax(2) * cold
        among_pictures = pairs.negative[pairs.first + texts].clone()
        among_pictures[texts, pairs.own] = True
        among_texts = pairs.negative[:, pairs.own].T.clone()
        among_texts[texts, pairs.first + texts] = True
        loss = _smoothed(to_pictures, pairs.own, among_pictures)
        loss = loss + _smoothed(to_texts, pairs.first + texts, among_texts)
        return loss / 2, to_pictures.detach(), to_texts.detach()

    def _matching(
        self, seen: Tensor, pairs: Pairs, to_pictures: Tensor, to_texts: Tensor
    ) -> Tensor:
        """True pairs against those with another picture, and with another text: the likest ones."""
        texts = torch.arange(len(pairs.ids), device=seen.device)
        wrong_picture, has_picture = _drawn(
            to_pictures, pairs.negative[pairs.first + texts], pairs.picture_noise
        )
        wrong_text, has_text = _drawn(to_texts, pairs.negative[:, pairs.own].T, pairs.text_noise)
        all_ids = _gathered_ids(pairs.ids)
        longest = all_ids.shape[1]
        ids = torch.nn.functional.pad(pairs.ids, (0, longest - pairs.ids.shape[1]))
        shown = torch.cat([pairs.own, wrong_picture, pairs.own])
        told = torch.cat([ids, ids, all_ids[wrong_text]])
        logits = self.match(seen, told, (told != 0).long(), shown).float()
        true = torch.cat([torch.ones_like(texts), torch.zeros_like(texts).repeat(2)])
        losses = cross_entropy(logits, true, reduction="none").reshape(3, -1)
        weights = torch.stack([torch.ones_like(losses[0]), has_picture.float(), has_text.float()])
        return (losses * weights).sum(0) / weights.sum(0)

    def match(self, seen: Tensor, ids: Tensor, mask: Tensor, of: Tensor) -> Tensor:
        """Whether texts are true of pictures: logits of no and yes, shape (texts, 2).

        `seen` as of `Encoder.see`; `of` (texts,) says which of them each text is about.
        """
        return self.in_halves(
            lambda *some: self.encoder.itm_logits(self.encoder.fuse(seen, *some)), ids, mask, of
        )

    def caption(self, seen: Tensor, ids: Tensor, mask: Tensor, start: int, of: Tensor) -> Tensor:
        """Mean loss a token of each text as a caption, in nats, shape (texts,)."""
        smoothing = _SMOOTHING if self.training else 0.0

        def losses(ids: Tensor, mask: Tensor, of: Tensor) -> Tensor:
            logits = self.next_words(seen, ids, mask, start, of)[:, :-1]
            wanted = ids[:, 1:].masked_fill(mask[:, 1:] == 0, IGNORED)
            return per_text(logits[wanted != IGNORED], wanted, smoothing)

        return self.in_halves(losses, ids, mask, of)

    def in_halves(
        self,
        work: Callable[[Tensor, Tensor, Tensor], Tensor],
        ids: Tensor,
        mask: Tensor,
        of: Tensor,
    ) -> Tensor:
        """Work on the shorter texts and on the longer ones, each padded for themselves."""
        lengths = mask.sum(1)
        order = lengths.argsort(stable=True)
        parts = []
        for some in order.chunk(2):
            longest = int(lengths[some].max())
            parts.append(work(ids[some, :longest], mask[some, :longest], of[some]))
        return torch.cat(parts)[order.argsort()]

    def next_words(self, seen: Tensor, ids: Tensor, mask: Tensor, start: int, of: Tensor) -> Tensor:
        """What comes after each word of a caption: logits, shape (texts, tokens, words)."""
        ids = ids.clone()
        ids[:, 0] = start
        _, words = self.encoder.causal_forward(seen, ids, mask, of)
        found: Tensor = self.captioner(words, self._embeddings)
        return found


def _smoothed(logits: Tensor, true: Tensor, among: Tensor) -> Tensor:
    """Cross entropy among some of the choices, with a little for each of them."""
    logs = logits.masked_fill(~among, -torch.inf).log_softmax(1)
    right = logs.gather(1, true[:, None])[:, 0]
    even = logs.masked_fill(~among, 0.0).sum(1) / among.sum(1)
    return -(1 - _SMOOTHING) * right - _SMOOTHING * even


def _drawn(likeness: Tensor, negative: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """One negative for each row, the likelier the more alike; and whether there is any."""
    scores = (likeness + noise).masked_fill(~negative, -torch.inf)
    return scores.argmax(1), negative.any(1)


def _gathered_ids(ids: Tensor) -> Tensor:
    """The texts of all processes, as long as the longest."""
    longest = max(distributed.all_gather_lists([ids.shape[1]]))
    with torch.no_grad():
        wide = torch.nn.functional.pad(ids, (0, longest - ids.shape[1]))
        return distributed.all_gather_rows(wide)[0]
