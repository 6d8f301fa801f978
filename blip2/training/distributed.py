"""Run in several processes, as `accelerate launch` or `torchrun` starts them; rank 0 writes files.

Every function is a no-op in a single process.
"""

import atexit
import os
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def world_size() -> int:
    """Return the number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return the index of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this process has rank 0."""
    return rank() == 0


def init() -> None:
    """Initialise the process group; it is destroyed when the process exits."""
    if world_size() > 1:
        from accelerate import PartialState

        if not torch.distributed.is_initialized():
            # Its threads must not outlive the interpreter.
            atexit.register(_destroy)
        PartialState(cpu=not torch.cuda.is_available())


def _destroy() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def broadcast(function: Callable[[], T]) -> T:
    """Call `function` on rank 0 and return its result, or raise its exception, on every rank."""
    if world_size() == 1:
        return function()
    from accelerate.utils import broadcast_object_list

    init()
    message: list[object] = [None, None]
    if is_main():
        try:
            message[0] = function()
        except Exception as error:  # noqa: BLE001 - the other ranks would wait for ever
            message[1] = error
    broadcast_object_list(message)
    if isinstance(message[1], Exception):
        raise message[1]
    return message[0]  # type: ignore[return-value]  # what the function returned on rank 0


def all_sum(value: float) -> float:
    """Return the sum of `value` over all processes."""
    if world_size() == 1:
        return value
    from torch import distributed

    device = "cuda" if torch.cuda.is_available() else "cpu"
    total = torch.tensor([value], dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return float(total)


def all_gather_rows(rows: Tensor) -> tuple[Tensor, int]:
    """Concatenate the rows of all processes by rank; also return the offset of this one's.

    Processes may have different numbers of rows. Gradients flow back to the process that a row came
    from, summed over all processes.
    """
    if world_size() == 1:
        return rows, 0
    from torch import distributed
    from torch.distributed.nn.functional import all_gather

    counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(world_size())]
    distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    lengths = [int(count) for count in counts]
    missing = max(lengths) - len(rows)
    padded = torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]) if missing else rows
    parts = all_gather(padded.contiguous())  # type: ignore[no-untyped-call]
    unpadded = [part[:length] for part, length in zip(parts, lengths, strict=True)]
    return torch.cat(unpadded), sum(lengths[: rank()])


def all_gather_lists(items: list[T]) -> list[T]:
    """Concatenate the lists of all processes by rank."""
    if world_size() == 1:
        return items
    from torch import distributed

    init()
    lists: list[list[T]] = [[] for _ in range(world_size())]
    distributed.all_gather_object(lists, items)
    return [item for part in lists for item in part]
