"""Network of the discriminative student: contrastive, matching and captioning losses.

The first stage of BLIP-2 (Li et al. 2023, section 3.1), for texts that refer to regions: an image
may have several true texts, and a text is no negative of an image that it is true of.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, normalize, pad

from blip2.model.encoder import Encoder
from blip2.training import distributed
from student.models.losses import IGNORE_INDEX, per_text_loss

_LABEL_SMOOTHING = 0.1
_INITIAL_TEMPERATURE = 0.07
_MIN_LOGIT_SCALE, _MAX_LOGIT_SCALE = 0.0, math.log(1000)


@dataclass(frozen=True, slots=True)
class MatchingBatch:
    """Texts of this process, and their relation to the texts and images of all processes."""

    input_ids: Tensor
    """(texts, tokens), padded with 0."""
    bos_token_id: int
    """The first token of captions."""
    offset: int
    """Index of this process's first text among all texts."""
    image_index: Tensor
    """(texts,) index of each text's image among all images."""
    is_negative: Tensor
    """(all texts, all images) whether a text is false of an image."""
    image_noise: Tensor
    """(texts, all images) Gumbel noise for sampling a hard negative."""
    text_noise: Tensor
    """(texts, all texts) Gumbel noise for sampling a hard negative."""


class LMHead(nn.Module):
    """BERT's language-modelling head, with weights tied to the word embeddings."""

    def __init__(self, hidden_size: int, vocabulary_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        """Logits, shape (..., hidden) -> (..., vocabulary)."""
        logits: Tensor = self.norm(gelu(self.dense(hidden))) @ embeddings.T
        return logits + self.bias


class MatchingNetwork(nn.Module):
    """An encoder with its matching and projection heads, and a language-modelling head."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.lm_head = LMHead(encoder.hidden_size, len(self._embeddings))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / _INITIAL_TEMPERATURE)))
        """Logarithm of the inverse temperature of the contrastive loss, as in CLIP."""

    @property
    def _embeddings(self) -> Tensor:
        weight: Tensor = self.encoder.model.embeddings.word_embeddings.weight
        return weight

    def forward(self, pixel_values: Tensor, batch: MatchingBatch) -> Tensor:
        """Sum of the contrastive, matching and captioning loss of each text, shape (texts,)."""
        with torch.no_grad():
            image_embeds = self.encoder.encode_image(pixel_values)
            all_image_embeds, image_offset = distributed.all_gather_rows(image_embeds)
        mask = (batch.input_ids != 0).long()
        contrastive, image_logits, text_logits = self._contrastive_loss(
            image_embeds, mask, batch, image_offset
        )
        matching = self._matching_loss(all_image_embeds, batch, image_logits, text_logits)
        captioning = self.caption_loss(
            all_image_embeds, batch.input_ids, mask, batch.bos_token_id, batch.image_index
        )
        return contrastive + matching + captioning

    def _contrastive_loss(
        self, image_embeds: Tensor, mask: Tensor, batch: MatchingBatch, image_offset: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss of each text, and its logits over all images and over all texts.

        A text is contrasted with the other images, and its image with the other texts.
        """
        model = self.encoder.model
        texts = torch.arange(len(batch.input_ids), device=image_embeds.device)
        queries = self.encoder.query_image(image_embeds)
        queries = normalize(model.vision_projection(queries).float(), dim=-1)
        embeddings = self.encoder.encode_text(batch.input_ids, mask)[:, 0]
        embeddings = normalize(model.text_projection(embeddings).float(), dim=-1)
        all_queries, _ = distributed.all_gather_rows(queries)
        all_embeddings, _ = distributed.all_gather_rows(embeddings)
        scale = self.logit_scale.clamp(_MIN_LOGIT_SCALE, _MAX_LOGIT_SCALE).exp()
        # The similarity of a text and an image is that of the most similar query.
        image_logits = torch.einsum("td,pqd->tpq", embeddings, all_queries).amax(2) * scale
        own_queries = queries[batch.image_index - image_offset]
        text_logits = torch.einsum("tqd,sd->tsq", own_queries, all_embeddings).amax(2) * scale
        among_images = batch.is_negative[batch.offset + texts].clone()
        among_images[texts, batch.image_index] = True
        among_texts = batch.is_negative[:, batch.image_index].T.clone()
        among_texts[texts, batch.offset + texts] = True
        loss = _masked_cross_entropy(image_logits, batch.image_index, among_images)
        loss = loss + _masked_cross_entropy(text_logits, batch.offset + texts, among_texts)
        return loss / 2, image_logits.detach(), text_logits.detach()

    def _matching_loss(
        self, image_embeds: Tensor, batch: MatchingBatch, image_logits: Tensor, text_logits: Tensor
    ) -> Tensor:
        """Classify true pairs against pairs with a hard negative image, and text."""
        texts = torch.arange(len(batch.input_ids), device=image_embeds.device)
        negative_image, has_image = _sample_negatives(
            image_logits, batch.is_negative[batch.offset + texts], batch.image_noise
        )
        negative_text, has_text = _sample_negatives(
            text_logits, batch.is_negative[:, batch.image_index].T, batch.text_noise
        )
        all_ids = _gather_ids(batch.input_ids)
        own_ids = pad(batch.input_ids, (0, all_ids.shape[1] - batch.input_ids.shape[1]))
        image_index = torch.cat([batch.image_index, negative_image, batch.image_index])
        input_ids = torch.cat([own_ids, own_ids, all_ids[negative_text]])
        logits = self.itm_logits(
            image_embeds, input_ids, (input_ids != 0).long(), image_index
        ).float()
        targets = torch.cat([torch.ones_like(texts), torch.zeros_like(texts).repeat(2)])
        losses = cross_entropy(logits, targets, reduction="none").reshape(3, -1)
        weights = torch.stack([torch.ones_like(losses[0]), has_image.float(), has_text.float()])
        return (losses * weights).sum(0) / weights.sum(0)

    def itm_logits(
        self, image_embeds: Tensor, input_ids: Tensor, mask: Tensor, image_index: Tensor
    ) -> Tensor:
        """Return the logits of no match and match, shape (texts, 2).

        `image_embeds` as of `Encoder.encode_image`; `image_index` (texts,) says which of them
        belongs to each text.
        """
        return self.by_length(
            lambda *texts: self.encoder.itm_logits(self.encoder.fuse(image_embeds, *texts)),
            input_ids,
            mask,
            image_index,
        )

    def caption_loss(
        self,
        image_embeds: Tensor,
        input_ids: Tensor,
        mask: Tensor,
        bos_token_id: int,
        image_index: Tensor,
    ) -> Tensor:
        """Return the mean loss per token of each text as a caption, in nats, shape (texts,)."""
        smoothing = _LABEL_SMOOTHING if self.training else 0.0

        def losses(input_ids: Tensor, mask: Tensor, image_index: Tensor) -> Tensor:
            logits = self.caption_logits(image_embeds, input_ids, mask, bos_token_id, image_index)
            labels = input_ids[:, 1:].masked_fill(mask[:, 1:] == 0, IGNORE_INDEX)
            return per_text_loss(logits[:, :-1][labels != IGNORE_INDEX], labels, smoothing)

        return self.by_length(losses, input_ids, mask, image_index)

    def by_length(
        self,
        function: Callable[[Tensor, Tensor, Tensor], Tensor],
        input_ids: Tensor,
        mask: Tensor,
        image_index: Tensor,
    ) -> Tensor:
        """Apply a function to the shorter and to the longer half of the texts.

        Each half is padded to its own longest text. Results are in the order of the texts.
        """
        lengths = mask.sum(1)
        order = lengths.argsort(stable=True)
        results = []
        for half in order.chunk(2):
            longest = int(lengths[half].max())
            results.append(
                function(input_ids[half, :longest], mask[half, :longest], image_index[half])
            )
        return torch.cat(results)[order.argsort()]

    def caption_logits(
        self,
        image_embeds: Tensor,
        input_ids: Tensor,
        mask: Tensor,
        bos_token_id: int,
        image_index: Tensor,
    ) -> Tensor:
        """Return the next-token logits of captions, shape (texts, tokens, vocabulary)."""
        input_ids = input_ids.clone()
        input_ids[:, 0] = bos_token_id
        _, hidden = self.encoder.causal_forward(image_embeds, input_ids, mask, image_index)
        logits: Tensor = self.lm_head(hidden, self._embeddings)
        return logits


def _masked_cross_entropy(logits: Tensor, targets: Tensor, among: Tensor) -> Tensor:
    """Return the cross entropy with label smoothing over the classes where `among` is true."""
    log_probabilities = logits.masked_fill(~among, -torch.inf).log_softmax(1)
    target = log_probabilities.gather(1, targets[:, None])[:, 0]
    uniform = log_probabilities.masked_fill(~among, 0.0).sum(1) / among.sum(1)
    return -(1 - _LABEL_SMOOTHING) * target - _LABEL_SMOOTHING * uniform


def _sample_negatives(logits: Tensor, is_negative: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Sample one negative per row with probability softmax(logits); whether a row has any."""
    scores = (logits + noise).masked_fill(~is_negative, -torch.inf)
    return scores.argmax(1), is_negative.any(1)


def _gather_ids(input_ids: Tensor) -> Tensor:
    """Return the token ids of the texts of all processes, padded to the longest."""
    longest = max(distributed.all_gather_lists([input_ids.shape[1]]))
    with torch.no_grad():
        padded = pad(input_ids, (0, longest - input_ids.shape[1]))
        return distributed.all_gather_rows(padded)[0]
