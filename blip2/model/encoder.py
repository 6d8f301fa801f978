"""BLIP-2's encoder: pictures through the vision tower, texts and pictures through the Q-Former.

Pictures come here at the model's size, with their marks drawn. One pass of a picture serves all
texts about it: a pass of ViT-g at 480 px costs forty times what a text costs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import Blip2ForImageTextRetrieval

# CLIP's channels (Radford et al. 2021), which BLIP-2's vision tower was trained on.
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def pixels(pictures: Sequence[Image.Image]) -> Tensor:
    """RGB pictures of one size -> float32, shape (pictures, 3, height, width), normalised."""
    arrays = np.stack([np.asarray(picture.convert("RGB"), np.float32) for picture in pictures])
    normal = (arrays / 255 - _MEAN) / _DEVIATION
    return torch.from_numpy(np.ascontiguousarray(normal.transpose(0, 3, 1, 2)))


class Encoder(nn.Module):
    """What a critic and a student read pictures with: a retrieval model's tower and Q-Former."""

    def __init__(self, model: Blip2ForImageTextRetrieval) -> None:
        super().__init__()
        self.model = model
        self.gradient_checkpointing = False
        """Whether layers are computed again for their gradients, not remembered."""

    @property
    def hidden(self) -> int:
        """Width of the Q-Former."""
        return int(self.model.config.qformer_config.hidden_size)

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest text that has positions."""
        return int(self.model.config.qformer_config.max_position_embeddings)

    def encode_image(self, pictures: Tensor) -> Tensor:
        """Shape (pictures, 3, height, width) -> (pictures, patches + 1, width of the tower).

        Positions are resized where the pictures are larger than those the tower was trained on.
        """
        seen: Tensor = self.model.vision_model(
            pixel_values=pictures, interpolate_pos_encoding=True
        ).last_hidden_state
        return seen

    def fuse(
        self, seen: Tensor, ids: Tensor, mask: Tensor, image_index: Tensor | None = None
    ) -> Tensor:
        """Queries that have looked at a picture while reading a text about it.

        `seen` is what `see` gave, shape (pictures, patches + 1, width); `ids` and `mask` have shape
        (texts, tokens); `of` (texts,) says which picture each is about, and without it there are
        as many about each in turn. Returns (texts, queries, hidden). Keys and values of a picture
        are made once for all texts about it.
        """
        count = self.model.query_tokens.shape[1]
        attends = torch.cat([mask.new_ones(len(ids), count), mask], dim=1)[:, None, :]
        wide = attends.expand(-1, attends.shape[-1], -1)
        return self._run_layers(ids, wide, count, seen, image_index)[:, :count]

    def query_image(self, seen: Tensor) -> Tensor:
        """Queries that have looked and read nothing: shape (pictures, queries, hidden)."""
        count = self.model.query_tokens.shape[1]
        wide = torch.ones(len(seen), count, count, dtype=torch.long, device=seen.device)
        return self._run_layers(None, wide, count, seen)

    def causal_forward(
        self, seen: Tensor, ids: Tensor, mask: Tensor, of: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """A picture and the texts about it as they are written, word by word (BLIP-2, section 3.1).

        Shapes as in `read`. Queries see no text, words see queries and the words before. Returns
        the queries, as `look` gives them, and the words, shape (texts, tokens, hidden).
        """
        count, tokens = self.model.query_tokens.shape[1], ids.shape[1]
        wide = mask.new_zeros(len(ids), count + tokens, count + tokens)
        wide[:, :, :count] = 1
        wide[:, count:, count:] = mask[:, None, :] * torch.ones_like(wide[0, count:, count:]).tril()
        found = self._run_layers(ids, wide, count, seen, of)
        return found[:, :count], found[:, count:]

    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Texts read without any picture: shape (texts, tokens, hidden)."""
        wide = mask[:, None, :].expand(-1, ids.shape[1], -1)
        return self._run_layers(ids, wide, 0, None)

    def _run_layers(
        self,
        ids: Tensor | None,
        attends: Tensor,
        count: int,
        seen: Tensor | None,
        of: Tensor | None = None,
    ) -> Tensor:
        """Through all layers: `count` queries before the words; who attends to whom, as 0 and 1."""
        model = self.model
        queries = model.query_tokens.expand(len(attends), -1, -1) if count else None
        embedded = model.embeddings(input_ids=ids, query_embeds=queries)
        hidden: Tensor = model.qformer.dropout(model.qformer.layernorm(embedded))
        bias = torch.zeros_like(attends, dtype=hidden.dtype)
        bias = bias.masked_fill(attends == 0, torch.finfo(hidden.dtype).min)[:, None]
        looked = None if seen is None else ImageKeys(seen.to(hidden.dtype), of)
        for layer in model.qformer.encoder.layer:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                hidden = checkpoint(_layer, layer, hidden, bias, looked, count, use_reentrant=False)
            else:
                hidden = _layer(layer, hidden, bias, looked, count)
        return hidden

    def itm_logits(self, read: Tensor) -> Tensor:
        """Logits of the stock head, that text and picture match or not: shape (texts, 2)."""
        logits: Tensor = self.model.itm_head(read).mean(dim=1)
        return logits


class ImageKeys:
    """What texts look at: the queries of all texts about a picture stand in one row.

    Each query looks for itself, so what fills a row up changes nothing.
    """

    def __init__(self, seen: Tensor, of: Tensor | None) -> None:
        self._seen, self._most = seen, 0
        self._places: Tensor | None = None
        if of is not None:
            counts = torch.bincount(of, minlength=len(seen))
            order = torch.argsort(of, stable=True)
            before = torch.cumsum(counts, 0) - counts
            ranks = torch.empty_like(of)
            ranks[order] = torch.arange(len(of), device=of.device) - before[of[order]]
            self._most = int(counts.max())
            self._places = of * self._most + ranks

    def by(self, attention: Any, queries: Tensor) -> Tensor:  # noqa: ANN401 - of transformers
        """What queries, shape (texts, queries, hidden), find in their pictures."""
        seen, shape = self._seen, queries.shape
        if self._places is None:
            rows = queries.reshape(len(seen), -1, shape[-1])
            found: Tensor = attention(rows, encoder_hidden_states=seen)
            return found.reshape(shape)
        rows = queries.new_zeros(len(seen) * self._most, *shape[1:])
        rows = rows.index_copy(0, self._places, queries).reshape(len(seen), -1, shape[-1])
        found = attention(rows, encoder_hidden_states=seen)
        return found.reshape(-1, *shape[1:])[self._places]


def _layer(
    layer: Any,  # noqa: ANN401 - of transformers
    hidden: Tensor,
    bias: Tensor,
    looked: ImageKeys | None,
    count: int,
) -> Tensor:
    """One layer of the Q-Former: `count` queries look, texts do not, by weights of their own."""
    attended = layer.attention(hidden, bias)
    looking = attended[:, :count]
    if layer.has_cross_attention and looked is not None:
        looking = looked.by(layer.crossattention, looking)
    parts = [layer.feed_forward_chunk(attended[:, count:])] if hidden.shape[1] > count else []
    if count:
        parts.insert(0, layer.feed_forward_chunk_query(looking))
    return torch.cat(parts, dim=1)
