"""What memory learning takes: weights, what the optimizer keeps, and what autograd does."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

_GIB = 2**30
_ADAM = 2
"""Numbers that the optimizer keeps for each that learns, beside its gradient."""


def memory_needed(network: nn.Module, kept: int) -> dict[str, float]:
    """GiB at once, where autograd keeps so many bytes."""
    sizes = [(w.numel() * w.element_size(), w.requires_grad) for w in network.parameters()]
    standing = sum(n for n, _ in sizes) + (1 + _ADAM) * sum(n for n, learns in sizes if learns)
    return {
        "GiB at once": round((standing + kept) / _GIB, 2),
        "of these, weights and optimizer": round(standing / _GIB, 2),
    }


def activation_bytes(network: nn.Module, loss: Callable[[], Tensor]) -> int:
    """Bytes that autograd keeps of a loss until its gradients are made, beside the weights."""
    seen: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss()
    return sum(size for where, size in seen.items() if where not in weights)
