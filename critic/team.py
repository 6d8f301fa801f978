"""Processes that learn together (`accelerate launch -m lskd critic train`): one of them writes."""

import os
from collections.abc import Callable
from typing import TypeVar

Told = TypeVar("Told")


def size() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ.get("RANK", "0"))


def leads() -> bool:
    """Whether this is the one that writes; alone, it is."""
    return rank() == 0


def told(find: Callable[[], Told]) -> Told:
    """What the leading process finds, in all of them; whatever it raises is raised by all."""
    if size() == 1:
        return find()
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState()
    message: list[object] = [None, None]
    if leads():
        try:
            message[0] = find()
        except Exception as error:  # noqa: BLE001 - the others would wait for ever
            message[1] = error
    broadcast_object_list(message)
    if isinstance(message[1], Exception):
        raise message[1]
    return message[0]  # type: ignore[return-value]  # it is what the leading one found
