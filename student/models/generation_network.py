"""The network of a BLIP-2 that writes: one look at a picture serves all that is said about it."""

from typing import Any

import torch
from torch import Tensor, nn

from student.training.losses import IGNORED, per_text


class Writer(nn.Module):
    """A tower that looks, a Q-Former that sums up, and a language model that goes on from there.

    Takes `Blip2ForConditionalGeneration` and `InstructBlipForConditionalGeneration`, whose language
    model only decodes (OPT, Vicuna) or encodes and decodes (FlanT5).
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - of transformers
        super().__init__()
        self.model = model
        self.decodes_only = bool(model.config.use_decoder_only_language_model)
        self.is_instructed = hasattr(model.qformer, "embeddings")
        """Whether the Q-Former reads what is asked, as InstructBLIP's does."""

    def forward(
        self,
        pixels: Tensor,
        counts: Tensor,
        ids: Tensor,
        labels: Tensor,
        instructions: Tensor | None = None,
    ) -> Tensor:
        """Mean loss a token of each text, in nats, shape (texts,).

        `pixels` (pictures, 3, height, width); `counts` (pictures,) texts about each in turn; `ids`
        (texts, tokens), -1 behind; `labels` what of them is to be said, -100 elsewhere, and for a
        model that encodes and decodes what is said after them; `instructions` for InstructBLIP.
        """
        seen = self.look(pixels, counts, instructions)
        language = self.model.language_model
        embeds, mask = self.told(seen, ids)
        if not self.decodes_only:
            logits = language(inputs_embeds=embeds, attention_mask=mask, labels=labels).logits
            return per_text(logits[labels != IGNORED], labels)
        hidden = language.base_model(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
        # A word is said by what stands before it; only words that count go through the head.
        before = hidden[:, seen.shape[1] - 1 : -1]
        logits = language.get_output_embeddings()(before[labels != IGNORED])
        return per_text(logits, labels)

    def look(self, pixels: Tensor, counts: Tensor, instructions: Tensor | None = None) -> Tensor:
        """What the Q-Former has to say, once a text: shape (texts, queries, width of language)."""
        model = self.model
        with torch.no_grad():
            found = model.vision_model(
                pixel_values=pixels.to(model.vision_model.dtype), interpolate_pos_encoding=True
            ).last_hidden_state
        found = found.to(model.query_tokens.dtype)
        if self.is_instructed and instructions is not None:
            found = found.repeat_interleave(counts, dim=0)
            queries = model.query_tokens.expand(len(found), -1, -1)
            reads = torch.cat(
                [queries.new_ones(queries.shape[:2]), (instructions != 0).to(queries.dtype)], dim=1
            )
            told = model.qformer(
                input_ids=instructions,
                attention_mask=reads,
                query_embeds=queries,
                encoder_hidden_states=found,
            ).last_hidden_state[:, : queries.shape[1]]
            return self._projected(told)
        queries = model.query_tokens.expand(len(found), -1, -1)
        told = model.qformer(query_embeds=queries, encoder_hidden_states=found).last_hidden_state
        return self._projected(told).repeat_interleave(counts, dim=0)

    def _projected(self, told: Tensor) -> Tensor:
        found: Tensor = self.model.language_projection(told)
        return found

    def told(self, seen: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """What the language model reads: the queries, then the text; and its mask."""
        words = self.model.get_input_embeddings()(ids.clamp(min=0))
        mask = torch.cat([ids.new_ones(seen.shape[:2]), (ids >= 0).long()], dim=1)
        return torch.cat([seen.to(words.dtype), words], dim=1), mask
