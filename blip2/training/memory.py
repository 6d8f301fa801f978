"""GPU memory: an estimate of what training takes, and batches that shrink until they fit."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor, nn

from regions.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

_GIB = 2**30
_ADAM_MOMENTS = 2
"""Values that Adam keeps for each trainable parameter, in addition to its gradient."""


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Peak memory of training, in GiB."""

    total_gib: float
    weights_and_optimizer_gib: float


def estimate_memory(network: nn.Module, activation_bytes: int) -> MemoryEstimate:
    """Estimate the memory of training `network`; see `measure_activations` for the bytes."""
    sizes = [(w.numel() * w.element_size(), w.requires_grad) for w in network.parameters()]
    weights = sum(size for size, _ in sizes)
    trainable = sum(size for size, requires_grad in sizes if requires_grad)
    static = weights + (1 + _ADAM_MOMENTS) * trainable
    return MemoryEstimate(
        total_gib=round((static + activation_bytes) / _GIB, 2),
        weights_and_optimizer_gib=round(static / _GIB, 2),
    )


def measure_activations(network: nn.Module, loss: Callable[[], Tensor]) -> int:
    """Return the bytes that autograd saves for the backward pass of `loss`, weights excluded."""
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss()
    return sum(size for pointer, size in saved.items() if pointer not in weights)


class AdaptiveBatchSize:
    """A batch size that is halved whenever the GPU runs out of memory.

    >>> sizes = []
    >>> batch_size = AdaptiveBatchSize(4, on_halved=sizes.append)
    >>> def forward(batch):
    ...     if len(batch) > 1:
    ...         raise torch.OutOfMemoryError
    ...     return sum(batch)
    >>> list(batch_size.map(forward, range(3))), sizes
    ([0, 1, 2], [2, 1])
    """

    def __init__(
        self,
        size: int,
        *,
        hint: str = "use a smaller model",
        on_halved: Callable[[int], object] | None = None,
    ) -> None:
        self.size = size
        self._hint, self._on_halved = hint, on_halved

    def halve(self, error: torch.OutOfMemoryError) -> None:
        """Halve the size and report it; UserError with the hint if it is 1 already."""
        if self.size == 1:
            raise UserError("the GPU has no room for one picture", hint=self._hint) from error
        self.size //= 2
        torch.cuda.empty_cache()
        if self._on_halved is not None:
            self._on_halved(self.size)

    def map(self, function: Callable[[list[T]], R], items: Iterable[T]) -> Iterator[R]:
        """Yield `function(batch)` for consecutive batches; one that does not fit is split."""
        iterator = iter(items)
        pending: list[T] = []
        while True:
            pending += islice(iterator, max(0, self.size - len(pending)))
            if not pending:
                return
            batch = pending[: self.size]
            try:
                result = function(batch)
            except torch.OutOfMemoryError as error:
                self.halve(error)
                continue
            yield result
            pending = pending[len(batch) :]
