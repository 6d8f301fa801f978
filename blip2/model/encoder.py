"""BLIP-2's encoder: images through the vision tower, texts and images through the Q-Former.

Images arrive at the model's size, with their marks drawn. An image is encoded once for all texts
about it: ViT-g at 480 px costs forty times as much as a text.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import Blip2ForImageTextRetrieval

# CLIP's channel statistics (Radford et al. 2021), with which BLIP-2's vision tower was trained.
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def to_pixel_values(images: Sequence[Image.Image]) -> Tensor:
    """Normalise images of one size: float32, shape (images, 3, height, width)."""
    arrays = np.stack([np.asarray(image.convert("RGB"), np.float32) for image in images])
    normalised = (arrays / 255 - _MEAN) / _STD
    return torch.from_numpy(np.ascontiguousarray(normalised.transpose(0, 3, 1, 2)))


class Encoder(nn.Module):
    """The vision tower and Q-Former of a retrieval model, as critic and student use them."""

    def __init__(self, model: Blip2ForImageTextRetrieval) -> None:
        super().__init__()
        self.model = model
        self.gradient_checkpointing = False
        """Whether activations are recomputed in the backward pass, to save memory."""

    @property
    def hidden_size(self) -> int:
        """Width of the Q-Former."""
        return int(self.model.config.qformer_config.hidden_size)

    @property
    def max_tokens(self) -> int:
        """Length of the longest text, in tokens."""
        return int(self.model.config.qformer_config.max_position_embeddings)

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Shape (images, 3, height, width) -> (images, patches + 1, width of the tower).

        Position embeddings are interpolated for larger images than the tower was trained on.
        """
        image_embeds: Tensor = self.model.vision_model(
            pixel_values=pixel_values, interpolate_pos_encoding=True
        ).last_hidden_state
        return image_embeds

    def fuse(
        self, image_embeds: Tensor, ids: Tensor, mask: Tensor, image_index: Tensor | None = None
    ) -> Tensor:
        """Return the queries after attending to a text and its image: (texts, queries, hidden).

        `image_embeds` from `encode_image`; `ids` and `mask` of shape (texts, tokens). `image_index`
        (texts,) says which image each text is about; without it, consecutive texts share an image
        in equal numbers. Keys and values of an image are computed once for all its texts.
        """
        n_queries = self.model.query_tokens.shape[1]
        attended = torch.cat([mask.new_ones(len(ids), n_queries), mask], dim=1)[:, None, :]
        attention = attended.expand(-1, attended.shape[-1], -1)
        return self._run_layers(ids, attention, n_queries, image_embeds, image_index)[:, :n_queries]

    def query_image(self, image_embeds: Tensor) -> Tensor:
        """Return the queries after attending to an image alone: (images, queries, hidden)."""
        n_queries, n_images = self.model.query_tokens.shape[1], len(image_embeds)
        attention = torch.ones(
            n_images, n_queries, n_queries, dtype=torch.long, device=image_embeds.device
        )
        return self._run_layers(None, attention, n_queries, image_embeds)

    def causal_forward(
        self, image_embeds: Tensor, ids: Tensor, mask: Tensor, image_index: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Image-grounded text generation (BLIP-2, section 3.1): texts are masked causally.

        Shapes as in `fuse`. Queries do not attend to the text; tokens attend to the queries and to
        earlier tokens. Returns the queries, equal to those of `query_image`, and the tokens, shape
        (texts, tokens, hidden).
        """
        n_queries, n_tokens = self.model.query_tokens.shape[1], ids.shape[1]
        length = n_queries + n_tokens
        attention = mask.new_zeros(len(ids), length, length)
        attention[:, :, :n_queries] = 1
        causal = torch.ones_like(attention[0, n_queries:, n_queries:]).tril()
        attention[:, n_queries:, n_queries:] = mask[:, None, :] * causal
        hidden = self._run_layers(ids, attention, n_queries, image_embeds, image_index)
        return hidden[:, :n_queries], hidden[:, n_queries:]

    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode texts without an image: shape (texts, tokens, hidden)."""
        attention = mask[:, None, :].expand(-1, ids.shape[1], -1)
        return self._run_layers(ids, attention, 0, None)

    def itm_logits(self, queries: Tensor) -> Tensor:
        """Return the logits of image-text matching, averaged over the queries: (texts, 2)."""
        logits: Tensor = self.model.itm_head(queries).mean(dim=1)
        return logits

    def _run_layers(
        self,
        ids: Tensor | None,
        attention: Tensor,
        n_queries: int,
        image_embeds: Tensor | None,
        image_index: Tensor | None = None,
    ) -> Tensor:
        """Run the Q-Former on `n_queries` queries followed by the tokens.

        `attention` is 1 where a position (second axis) attends to another (third axis).
        """
        model = self.model
        queries = model.query_tokens.expand(len(attention), -1, -1) if n_queries else None
        embedded = model.embeddings(input_ids=ids, query_embeds=queries)
        hidden: Tensor = model.qformer.dropout(model.qformer.layernorm(embedded))
        bias = torch.zeros_like(attention, dtype=hidden.dtype)
        bias = bias.masked_fill(attention == 0, torch.finfo(hidden.dtype).min)[:, None]
        keys = None
        if image_embeds is not None:
            keys = _ImageKeys(image_embeds.to(hidden.dtype), image_index)
        for layer in model.qformer.encoder.layer:
            arguments = layer, hidden, bias, keys, n_queries
            if self.gradient_checkpointing and torch.is_grad_enabled():
                hidden = checkpoint(_run_layer, *arguments, use_reentrant=False)
            else:
                hidden = _run_layer(*arguments)
        return hidden


class _ImageKeys:
    """The images that queries attend to, with the queries of all texts about an image in one row.

    Queries do not attend to each other here, so rows of unequal length can be padded.
    """

    def __init__(self, image_embeds: Tensor, image_index: Tensor | None) -> None:
        self._image_embeds, self._row_length = image_embeds, 0
        self._places: Tensor | None = None
        """The place of each text in the padded rows; without it, rows need no padding."""
        if image_index is not None:
            counts = torch.bincount(image_index, minlength=len(image_embeds))
            order = torch.argsort(image_index, stable=True)
            starts = torch.cumsum(counts, 0) - counts
            ranks = torch.empty_like(image_index)
            indices = torch.arange(len(image_index), device=image_index.device)
            ranks[order] = indices - starts[image_index[order]]
            self._row_length = int(counts.max())
            self._places = image_index * self._row_length + ranks

    def cross_attend(self, attention: Any, queries: Tensor) -> Tensor:  # noqa: ANN401 - of transformers
        """Return what the queries (texts, queries, hidden) attend to in their images."""
        image_embeds, shape = self._image_embeds, queries.shape
        if self._places is None:
            rows = queries.reshape(len(image_embeds), -1, shape[-1])
            attended: Tensor = attention(rows, encoder_hidden_states=image_embeds)
            return attended.reshape(shape)
        rows = queries.new_zeros(len(image_embeds) * self._row_length, *shape[1:])
        rows = rows.index_copy(0, self._places, queries)
        rows = rows.reshape(len(image_embeds), -1, shape[-1])
        attended = attention(rows, encoder_hidden_states=image_embeds)
        return attended.reshape(-1, *shape[1:])[self._places]


def _run_layer(
    layer: Any,  # noqa: ANN401 - of transformers
    hidden: Tensor,
    bias: Tensor,
    keys: _ImageKeys | None,
    n_queries: int,
) -> Tensor:
    """Run a layer of the Q-Former, in which only the queries attend to the image."""
    attended = layer.attention(hidden, bias)
    queries = attended[:, :n_queries]
    if layer.has_cross_attention and keys is not None:
        queries = keys.cross_attend(layer.crossattention, queries)
    has_tokens = hidden.shape[1] > n_queries
    parts = [layer.feed_forward_chunk(attended[:, n_queries:])] if has_tokens else []
    if n_queries:
        parts.insert(0, layer.feed_forward_chunk_query(queries))
    return torch.cat(parts, dim=1)
