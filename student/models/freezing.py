"""Freezing the parameters of a model, and saving and loading those that are trained."""

from collections.abc import Callable, Container
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from blip2.training.loading import load_errors
from regions.errors import UserError

WEIGHTS_FILE = "learned.safetensors"
_DROPOUT_RATES = ("dropout", "attention_dropout", "activation_dropout", "layerdrop", "dropout_rate")
_FORMER_PREFIXES = (("captioner.", "lm_head."), ("coldness", "logit_scale"), ("", "model."))
"""Prefixes of parameter names in files of former versions, and today's."""


def freeze(model: nn.Module, *, is_trainable: Callable[[str], bool]) -> None:
    """Freeze all parameters but those whose names `is_trainable`, which become float32.

    Dropout is switched off, so that a step does not depend on how its batch is split.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_trainable(name))
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in _DROPOUT_RATES:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def save_trainable(model: nn.Module, folder: Path) -> None:
    """Write the trainable parameters to `WEIGHTS_FILE`."""
    trainable = {
        name: parameter.detach().contiguous().cpu()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    save_file(trainable, folder / WEIGHTS_FILE)


def load_trainable(model: nn.Module, folder: Path) -> None:
    """Load what `save_trainable` wrote; UserError if the base model does not fit."""
    with load_errors("the student", folder):
        saved = load_file(folder / WEIGHTS_FILE)
    parameters = dict(model.named_parameters())
    weights = {_current_name(name, parameters): weight for name, weight in saved.items()}
    for name, weight in weights.items():
        if name not in parameters or parameters[name].shape != weight.shape:
            what = "lacks" if name not in parameters else "has another shape for"
            raise UserError(
                f"the base model {what} {name}",
                where=str(folder),
                hint="use the base model it was trained on",
            )
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(weight)


def _current_name(name: str, known: Container[str]) -> str:
    if name not in known:
        for former, current in _FORMER_PREFIXES:
            renamed = current + name.removeprefix(former)
            if name.startswith(former) and renamed in known:
                return renamed
    return name


def stacked_layers(model: nn.Module) -> list[nn.Module]:
    """Return the layers in all ModuleLists of a model."""
    return [
        layer for module in model.modules() if isinstance(module, nn.ModuleList) for layer in module
    ]


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return the number of trainable and of frozen parameters."""
    parameters: list[Tensor] = list(model.parameters())
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    return trainable, sum(p.numel() for p in parameters) - trainable
