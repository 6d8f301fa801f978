"""What of a model learns, what stays as it is, and what is saved of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from blip2.training.loading import load_errors
from regions.errors import UserError

LEARNED = "learned.safetensors"
_DROPS = ("dropout", "attention_dropout", "activation_dropout", "layerdrop", "dropout_rate")


def freeze(model: nn.Module, *, but: Callable[[str], bool]) -> None:
    """Only the weights whose names are wanted learn; those learn in float32, whatever the rest is.

    Nothing is dropped by chance: a step is the same however its batch is split or repeated.
    """
    for name, weight in model.named_parameters():
        weight.requires_grad_(but(name))
        if weight.requires_grad:
            weight.data = weight.data.float()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in _DROPS:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def save_learned(model: nn.Module, folder: Path) -> None:
    """Write the weights that learn."""
    learned = {
        name: weight.detach().contiguous().cpu()
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }
    save_file(learned, folder / LEARNED)


def load_learned(model: nn.Module, folder: Path) -> None:
    """Put what `save_learned` wrote onto its base; UserError where that is another model."""
    with load_errors("the student", folder):
        learned = load_file(folder / LEARNED)
    own = dict(model.named_parameters())
    for name, weight in learned.items():
        if name not in own or own[name].shape != weight.shape:
            what = "lacks" if name not in own else "has another shape for"
            raise UserError(
                f"the base {what} {name}", where=str(folder), hint="use the base it was trained on"
            )
    with torch.no_grad():
        for name, weight in learned.items():
            own[name].copy_(weight)


def layers(model: nn.Module) -> list[nn.Module]:
    """What a model is a stack of."""
    return [
        layer for module in model.modules() if isinstance(module, nn.ModuleList) for layer in module
    ]


def sizes(model: nn.Module) -> tuple[int, int]:
    """How many weights learn, and how many are frozen."""
    found: list[Any] = [(weight.numel(), weight.requires_grad) for weight in model.parameters()]
    learns = sum(n for n, yes in found if yes)
    return learns, sum(n for n, _ in found) - learns
