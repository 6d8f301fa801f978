"""Weights that learn in steps: in pieces that fit, alone or in a team, going on after a kill.

What a step does follows from its batch, its rate and its seed alone.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.fsdp import FSDPModule

from blip2.training import distributed
from blip2.training.loading import save_errors
from regions.errors import UserError

RESUME = "resume.pt"
Example = TypeVar("Example")


class Trainer:
    """The weights of a network that learn, their optimizer, and the steps that change them.

    `network` is what to call in a step: in a team it is a wrapper of the one that was given.
    `blocks` are modules with forwards of their own; they are spread over the team's processes
    where there are any, so that none holds all weights.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        piece: int,
        halved: Callable[[int, Exception], int],
        blocks: Sequence[nn.Module] = (),
    ) -> None:
        self._plain, self._piece, self._halved = network, piece, halved
        self.network: Any = network
        self._accelerator: Any = None
        self._optimizer: Any = None
        if distributed.world_size() > 1 and blocks:
            _shard(network, blocks)
        self._optimizer = torch.optim.AdamW(trainable_parameters(network), weight_decay=0.05)
        if distributed.world_size() > 1 and not blocks:
            # Not every weight that learns is used in every step.
            unused = DistributedDataParallelKwargs(find_unused_parameters=True)
            self._accelerator = Accelerator(
                cpu=not torch.cuda.is_available(), kwargs_handlers=[unused]
            )
            self.network, self._optimizer = self._accelerator.prepare(network, self._optimizer)

    def step(
        self,
        batch: Sequence[Example],
        loss: Callable[[Sequence[Example]], Tensor],
        *,
        rate: float,
        seed: int,
        at: str,
    ) -> float:
        """One step; `loss` gives a piece's share of the batch's loss. Returns their sum.

        Pieces are halved where a GPU has no room. UserError, before anything is changed, for a loss
        that is not finite; `at` says where that was.
        """
        while True:
            torch.manual_seed(seed)
            self._plain.train()
            self._optimizer.zero_grad()
            try:
                total = self._accumulate(batch, loss, at)
                break
            except torch.OutOfMemoryError as error:
                self._piece = self._halved(self._piece, error)
        torch.nn.utils.clip_grad_norm_(trainable_parameters(self._plain), 1.0)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        return total

    def _accumulate(
        self, batch: Sequence[Example], loss: Callable[[Sequence[Example]], Tensor], at: str
    ) -> float:
        total = 0.0
        for start in range(0, len(batch), self._piece):
            last = start + self._piece >= len(batch)
            with nullcontext() if last else self._no_sync():
                found = loss(batch[start : start + self._piece])
                if not torch.isfinite(found):
                    raise UserError(
                        f"the loss is {found.item()} {at}",
                        hint="use a lower --rate, or --precision fp32",
                    )
                if self._accelerator is None:
                    found.backward()  # type: ignore[no-untyped-call]
                else:
                    self._accelerator.backward(found)
                total += float(found.detach())
        return total

    def _no_sync(self) -> AbstractContextManager[object]:
        """Gradients stay with this process until a batch's last piece."""
        if self._accelerator is None:
            return nullcontext()
        found: AbstractContextManager[object] = self._accelerator.no_sync(self.network)
        return found

    def save(self, folder: Path, standing: dict[str, Any], about: dict[str, Any]) -> None:
        """Write what is needed to go on, whole or not at all; every process of a team calls it.

        UserError where there is no room for it: what was kept before stays.
        """
        weights, optimizer = get_state_dict(
            self.network, self._inner(), options=StateDictOptions(**_HOW, cpu_offload=True)
        )
        if not distributed.is_main():
            return
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f"{RESUME}.new"
        said = {"standing": standing, "about": about, "weights": weights, "optimizer": optimizer}
        with save_errors(folder):
            torch.save(said, new)
            new.replace(folder / RESUME)

    def resume(self, folder: Path | None, about: dict[str, Any]) -> dict[str, Any] | None:
        """Where learning `about` the same stopped; None where it is to begin."""
        if folder is None or not (folder / RESUME).is_file():
            return None
        said = torch.load(folder / RESUME, map_location="cpu", weights_only=True)
        if said.get("about") != about:
            return None
        self._optimizer.zero_grad()  # where there are gradients torch takes nothing
        set_state_dict(
            self.network,
            self._inner(),
            model_state_dict=said["weights"],
            optim_state_dict=said["optimizer"],
            options=StateDictOptions(**_HOW, strict=False),
        )
        standing: dict[str, Any] = said["standing"]
        return standing

    def gather(self) -> None:
        """Let every process of a team have all weights again, where they were spread."""
        for module in self._plain.modules():
            if isinstance(module, FSDPModule):
                module.set_reshard_after_forward(reshard_after_forward=False)
                module.unshard()

    def _inner(self) -> torch.optim.Optimizer:
        found: torch.optim.Optimizer = getattr(self._optimizer, "optimizer", self._optimizer)
        return found


_HOW: Any = {"full_state_dict": True, "ignore_frozen_params": True}


def trainable_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The weights that learn."""
    return [weight for weight in network.parameters() if weight.requires_grad]


def _shard(network: nn.Module, blocks: Sequence[nn.Module]) -> None:
    """Weights live in shares with the processes; a block has them whole while it works."""
    from torch.distributed.fsdp import fully_shard

    distributed.init()
    for block in blocks:
        fully_shard(block)
    inside = {id(weight) for block in blocks for weight in block.parameters()}
    outside = {w for w in network.parameters() if id(w) not in inside and not w.requires_grad}
    fully_shard(network, ignored_params=outside)
