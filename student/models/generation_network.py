"""Network of the generative student: one pass of the vision tower serves all texts of an image."""

from typing import Any

import torch
from torch import Tensor, nn

from student.models.losses import IGNORE_INDEX, per_text_loss


class GenerationNetwork(nn.Module):
    """Vision tower, Q-Former, projection and language model of a BLIP-2.

    Takes `Blip2ForConditionalGeneration` and `InstructBlipForConditionalGeneration`, with a
    decoder-only (OPT, Vicuna) or an encoder-decoder language model (FlanT5).
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - of transformers
        super().__init__()
        self.model = model
        self.is_decoder_only = bool(model.config.use_decoder_only_language_model)
        self.is_instruction_aware = hasattr(model.qformer, "embeddings")
        """Whether the Q-Former reads the instruction, as InstructBLIP's does."""

    def forward(
        self,
        pixel_values: Tensor,
        counts: Tensor,
        input_ids: Tensor,
        labels: Tensor,
        instruction_ids: Tensor | None = None,
    ) -> Tensor:
        """Return the mean loss per token of each text, in nats, shape (texts,).

        `pixel_values` (images, 3, height, width); `counts` (images,) number of texts of each image;
        `input_ids` (texts, tokens), padded with -1; `labels` (texts, tokens) of a decoder-only
        model, or the decoder's targets, with -100 where nothing is predicted; `instruction_ids`
        (texts, tokens), padded with 0, for InstructBLIP's Q-Former.
        """
        queries = self.project_image(pixel_values, counts, instruction_ids)
        language_model = self.model.language_model
        embeddings, mask = self.input_embeddings(queries, input_ids)
        if not self.is_decoder_only:
            logits = language_model(
                inputs_embeds=embeddings, attention_mask=mask, labels=labels
            ).logits
            return per_text_loss(logits[labels != IGNORE_INDEX], labels)
        hidden = language_model.base_model(
            inputs_embeds=embeddings, attention_mask=mask
        ).last_hidden_state
        # A token is predicted from the position before it. Only positions that count go through
        # the vocabulary head.
        before = hidden[:, queries.shape[1] - 1 : -1]
        logits = language_model.get_output_embeddings()(before[labels != IGNORE_INDEX])
        return per_text_loss(logits, labels)

    def project_image(
        self, pixel_values: Tensor, counts: Tensor, instruction_ids: Tensor | None = None
    ) -> Tensor:
        """Return projected Q-Former outputs, shape (texts, queries, language width)."""
        model = self.model
        with torch.no_grad():
            image_embeds = model.vision_model(
                pixel_values=pixel_values.to(model.vision_model.dtype),
                interpolate_pos_encoding=True,
            ).last_hidden_state
        image_embeds = image_embeds.to(model.query_tokens.dtype)
        if self.is_instruction_aware and instruction_ids is not None:
            image_embeds = image_embeds.repeat_interleave(counts, dim=0)
            query_tokens = model.query_tokens.expand(len(image_embeds), -1, -1)
            text_mask = (instruction_ids != 0).to(query_tokens.dtype)
            mask = torch.cat([query_tokens.new_ones(query_tokens.shape[:2]), text_mask], dim=1)
            hidden = model.qformer(
                input_ids=instruction_ids,
                attention_mask=mask,
                query_embeds=query_tokens,
                encoder_hidden_states=image_embeds,
            ).last_hidden_state[:, : query_tokens.shape[1]]
            return self._project(hidden)
        query_tokens = model.query_tokens.expand(len(image_embeds), -1, -1)
        hidden = model.qformer(
            query_embeds=query_tokens, encoder_hidden_states=image_embeds
        ).last_hidden_state
        return self._project(hidden).repeat_interleave(counts, dim=0)

    def _project(self, hidden: Tensor) -> Tensor:
        projected: Tensor = self.model.language_projection(hidden)
        return projected

    def input_embeddings(self, queries: Tensor, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the language model's inputs, queries before text, and their attention mask."""
        text = self.model.get_input_embeddings()(input_ids.clamp(min=0))
        mask = torch.cat([input_ids.new_ones(queries.shape[:2]), (input_ids >= 0).long()], dim=1)
        return torch.cat([queries.to(text.dtype), text], dim=1), mask
