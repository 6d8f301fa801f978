"""The BLIP-2 critic as a PyTorch module: encoder, image-text matching head, heads of the parts."""

import copy
from typing import Self

import torch
from torch import Tensor, nn

from blip2.model.encoder import Encoder

StateDict = dict[str, Tensor]


class PartHeads(nn.Module):
    """Whether each part of a triple is acceptable, predicted from the Q-Former's queries.

    The attributes are named as in the released checkpoints.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.qa_head = _mlp(hidden)
        self.r_head = _mlp(hidden)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Shape (triples, queries, hidden) -> probabilities (triples, 2): QA, rationale."""
        parts = [head(hidden_states).sigmoid().mean(dim=1) for head in (self.qa_head, self.r_head)]
        return torch.cat(parts, dim=1)


def _mlp(hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))


class Blip2CriticNetwork(nn.Module):
    """Encoder and heads in one module, as it is trained and distributed.

    `freeze_vision` keeps a pretrained vision tower as it is. A tower that was created from scratch
    is trained too.
    """

    def __init__(self, encoder: Encoder, *, freeze_vision: bool) -> None:
        super().__init__()
        self.encoder, self.heads = encoder, PartHeads(encoder.hidden_size)
        self._train_vision = not freeze_vision
        for name, weight in encoder.model.named_parameters():
            is_unused = name.startswith(("vision_projection", "text_projection"))
            is_frozen = name.startswith("vision_model") and freeze_vision
            weight.requires_grad_(not (is_unused or is_frozen))

    def forward(self, pixel_values: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of rejection and acceptance (triples, 2), probabilities of the parts (triples, 2).

        `pixel_values` has shape (images, 3, height, width), `ids` and `mask` (images * k, tokens):
        the k triples of an image stand together.
        """
        with torch.set_grad_enabled(self._train_vision and torch.is_grad_enabled()):
            image_embeds = self.encoder.encode_image(pixel_values)
        hidden_states = self.encoder.fuse(image_embeds, ids, mask)
        return self.encoder.itm_logits(hidden_states), self.heads(hidden_states)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """Set training mode; a frozen vision tower stays in evaluation mode, without dropout."""
        super().train(mode)
        if not self._train_vision:
            self.encoder.model.vision_model.eval()
        return self


def trainable_state_dict(module: nn.Module) -> StateDict:
    """A copy of the trainable parameters, on the CPU."""
    return {
        name: copy.deepcopy(weight.detach()).contiguous().cpu()
        for name, weight in module.named_parameters()
        if weight.requires_grad
    }
