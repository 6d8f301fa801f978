"""What of a BLIP-2 critic is a network: the encoder, the stock head, and a head for each part."""

import copy
from typing import Self

import torch
from torch import Tensor, nn

from blip2.model.encoder import Encoder

Weights = dict[str, Tensor]


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


class Judge(nn.Module):
    """The encoder and the heads as one: what learns, and what is shared among processes."""

    def __init__(self, encoder: Encoder, *, sees_already: bool) -> None:
        super().__init__()
        self.encoder, self.heads = encoder, Heads(encoder.hidden_size)
        # The tower stays as it is, but one made here from nothing has to learn to see.
        self._tower_learns = not sees_already
        for name, weight in encoder.model.named_parameters():
            unused = name.startswith(("vision_projection", "text_projection"))
            frozen = name.startswith("vision_model") and sees_already
            weight.requires_grad_(not (unused or frozen))

    def forward(self, pictures: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of acceptance (triples, 2), and shares of the parts (triples, 2).

        `pictures` as the encoder sees them, `ids` and `mask` of shape (pictures * k, tokens).
        """
        with torch.set_grad_enabled(self._tower_learns and torch.is_grad_enabled()):
            seen = self.encoder.encode_image(pictures)
        read = self.encoder.fuse(seen, ids, mask)
        return self.encoder.itm_logits(read), self.heads(read)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - of torch
        """As torch has it, but a frozen tower never drops anything."""
        super().train(mode)
        if not self._tower_learns:
            self.encoder.model.vision_model.eval()
        return self

    def learning(self) -> list[nn.Parameter]:
        """The weights that learn."""
        return [weight for weight in self.parameters() if weight.requires_grad]


def state(module: nn.Module) -> Weights:
    """A copy of the weights that learn."""
    return {
        name: copy.deepcopy(weight.detach()).contiguous().cpu()
        for name, weight in module.named_parameters()
        if weight.requires_grad
    }
