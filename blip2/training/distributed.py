"""Processes that learn together, as `accelerate launch` or `torchrun` starts them: one writes."""

import os
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def world_size() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this is the one that writes; alone, it is."""
    return rank() == 0


def init() -> None:
    """Know the others; alone, nothing happens."""
    if world_size() > 1:
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())


def broadcast(find: Callable[[], T]) -> T:
    """What the leading process finds, in all of them; whatever it raises is raised by all."""
    if world_size() == 1:
        return find()
    from accelerate.utils import broadcast_object_list

    init()
    message: list[object] = [None, None]
    if is_main():
        try:
            message[0] = find()
        except Exception as error:  # noqa: BLE001 - the others would wait for ever
            message[1] = error
    broadcast_object_list(message)
    if isinstance(message[1], Exception):
        raise message[1]
    return message[0]  # type: ignore[return-value]  # it is what the leading one found


def all_sum(value: float) -> float:
    """The sum of every process's number."""
    if world_size() == 1:
        return value
    from torch import distributed

    found = torch.tensor([value], dtype=torch.float64, device=_device())
    distributed.all_reduce(found)
    return float(found)


def all_gather_rows(mine: Tensor) -> tuple[Tensor, int]:
    """The rows of every process in order of rank, and at which row this one's begin.

    Processes may have unlike numbers of rows. Gradients go back to whoever made a row, summed.
    """
    if world_size() == 1:
        return mine, 0
    from torch import distributed
    from torch.distributed.nn.functional import all_gather

    counts = [torch.zeros(1, dtype=torch.long, device=mine.device) for _ in range(world_size())]
    own = torch.tensor([len(mine)], device=mine.device)
    distributed.all_gather(counts, own)
    rows = [int(count) for count in counts]
    missing = max(rows) - len(mine)
    padded = torch.cat([mine, mine.new_zeros(missing, *mine.shape[1:])]) if missing else mine
    parts = all_gather(padded.contiguous())  # type: ignore[no-untyped-call]
    whole = [part[:count] for part, count in zip(parts, rows, strict=True)]
    return torch.cat(whole), sum(rows[: rank()])


def all_gather_lists(mine: list[T]) -> list[T]:
    """The members of every process's list, in order of rank."""
    if world_size() == 1:
        return mine
    from torch import distributed

    init()
    parts: list[list[T]] = [[] for _ in range(world_size())]
    distributed.all_gather_object(parts, mine)
    return [one for part in parts for one in part]


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
