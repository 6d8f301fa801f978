"""Train a network in steps: gradient accumulation, data parallelism or FSDP, and resumption.

The result of a step depends only on its batch, learning rate and seed.
"""

from collections.abc import Callable, Mapping, Sequence
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
from blip2.training.memory import AdaptiveBatchSize
from regions.errors import UserError

CHECKPOINT = "resume.pt"
_WEIGHT_DECAY, _MAX_GRADIENT_NORM = 0.05, 1.0
_FORMER_KEYS = {"standing": "state", "about": "config", "weights": "model"}
"""Keys of checkpoints that the first release wrote."""
_STATE_DICT: Any = {"full_state_dict": True, "ignore_frozen_params": True}

Example = TypeVar("Example")


class NonFiniteLossError(UserError):
    """Training diverged."""


class Trainer:
    """The trainable parameters of a network and their AdamW optimizer.

    `network` is what to call in a step: with several processes it wraps the network that was given.
    A batch is split into micro-batches of `micro_batch_size`, whose gradients are accumulated.
    `blocks` are submodules with forward methods of their own; with several processes their
    parameters are sharded (FSDP), so that no process holds all of them.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        micro_batch_size: AdaptiveBatchSize,
        blocks: Sequence[nn.Module] = (),
    ) -> None:
        self._unwrapped, self._micro_batch_size = network, micro_batch_size
        self.network: Any = network
        self._accelerator: Any = None
        self._optimizer: Any = None
        is_parallel = distributed.world_size() > 1
        if is_parallel and blocks:
            _shard(network, blocks)
        self._optimizer = torch.optim.AdamW(
            trainable_parameters(network), weight_decay=_WEIGHT_DECAY
        )
        if is_parallel and not blocks:
            # Some steps do not use every trainable parameter.
            kwargs = DistributedDataParallelKwargs(find_unused_parameters=True)
            self._accelerator = Accelerator(
                cpu=not torch.cuda.is_available(), kwargs_handlers=[kwargs]
            )
            self.network, self._optimizer = self._accelerator.prepare(network, self._optimizer)

    def step(
        self,
        batch: Sequence[Example],
        loss: Callable[[Sequence[Example]], Tensor],
        *,
        lr: float,
        seed: int,
        where: str,
    ) -> float:
        """Take one optimizer step on a batch and return its loss.

        `loss` returns a micro-batch's share of the batch's loss. When the GPU is out of memory the
        micro-batch size is halved and the step repeated. NonFiniteLossError, before any parameter
        changes, for a loss that is not finite; `where` ("at step 3") locates it in the message.
        """
        while True:
            torch.manual_seed(seed)
            self._unwrapped.train()
            self._optimizer.zero_grad()
            try:
                total = self._accumulate_gradients(batch, loss, where)
                break
            except torch.OutOfMemoryError as error:
                self._micro_batch_size.halve(error)
        torch.nn.utils.clip_grad_norm_(trainable_parameters(self._unwrapped), _MAX_GRADIENT_NORM)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.step()
        return total

    def _accumulate_gradients(
        self, batch: Sequence[Example], loss: Callable[[Sequence[Example]], Tensor], where: str
    ) -> float:
        total, size = 0.0, self._micro_batch_size.size
        for start in range(0, len(batch), size):
            is_last = start + size >= len(batch)
            with nullcontext() if is_last else self._no_sync():
                share = loss(batch[start : start + size])
                if not torch.isfinite(share):
                    raise NonFiniteLossError(
                        f"the loss is {share.item()} {where}",
                        hint="use a lower --learning-rate, or --precision fp32",
                    )
                if self._accelerator is None:
                    share.backward()  # type: ignore[no-untyped-call]
                else:
                    self._accelerator.backward(share)
                total += float(share.detach())
        return total

    def _no_sync(self) -> AbstractContextManager[object]:
        """Do not exchange gradients between processes until the batch's last micro-batch."""
        if self._accelerator is None:
            return nullcontext()
        context: AbstractContextManager[object] = self._accelerator.no_sync(self.network)
        return context

    def save(self, folder: Path, state: dict[str, Any], config: dict[str, Any]) -> None:
        """Write a checkpoint atomically; every process must call it.

        `state` is how far training is, `config` what it must agree with to be resumed. UserError if
        it does not fit on the disk: the previous checkpoint is kept.
        """
        model, optimizer = get_state_dict(
            self.network,
            self._unwrapped_optimizer(),
            options=StateDictOptions(**_STATE_DICT, cpu_offload=True),
        )
        if not distributed.is_main():
            return
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{CHECKPOINT}.new"
        checkpoint = {"state": state, "config": config, "model": model, "optimizer": optimizer}
        with save_errors(folder):
            torch.save(checkpoint, temporary)
            temporary.replace(folder / CHECKPOINT)

    def resume(
        self,
        folder: Path | None,
        config: Mapping[str, Any],
        former_names: Mapping[str, str] | None = None,
    ) -> dict[str, Any] | None:
        """Load the checkpoint in `folder` and return its state; None if there is none to resume.

        A checkpoint is resumed only with an equal `config`. `former_names` maps keys of state and
        config that earlier versions wrote to today's.
        """
        checkpoint = None if folder is None else load_checkpoint(folder)
        names = former_names or {}
        if checkpoint is None or _rename(checkpoint["config"], names) != dict(config):
            return None
        self._optimizer.zero_grad()  # set_state_dict refuses to load while there are gradients
        set_state_dict(
            self.network,
            self._unwrapped_optimizer(),
            model_state_dict=checkpoint["model"],
            optim_state_dict=checkpoint["optimizer"],
            options=StateDictOptions(**_STATE_DICT, strict=False),
        )
        return _rename(checkpoint["state"], names)

    def unshard(self) -> None:
        """Give every process all parameters again, if they were sharded."""
        for module in self._unwrapped.modules():
            if isinstance(module, FSDPModule):
                module.set_reshard_after_forward(reshard_after_forward=False)
                module.unshard()

    def _unwrapped_optimizer(self) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = getattr(self._optimizer, "optimizer", self._optimizer)
        return optimizer


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return what `Trainer.save` wrote: state, config, model and optimizer; None without a file."""
    if not (folder / CHECKPOINT).is_file():
        return None
    stored = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
    return _rename(stored, _FORMER_KEYS)


def trainable_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that require gradients."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _rename(stored: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in stored.items()}


def _shard(network: nn.Module, blocks: Sequence[nn.Module]) -> None:
    """Shard the parameters over the processes; a block gathers its own while it runs."""
    from torch.distributed.fsdp import fully_shard

    distributed.init()
    for block in blocks:
        fully_shard(block)
    inside = {id(parameter) for block in blocks for parameter in block.parameters()}
    frozen_outside = {
        parameter
        for parameter in network.parameters()
        if id(parameter) not in inside and not parameter.requires_grad
    }
    fully_shard(network, ignored_params=frozen_outside)
