"""Where critic and student compute, and in which numbers."""

from contextlib import AbstractContextManager

import torch

from blip2.training import distributed
from regions.errors import UserError


def device() -> torch.device:
    """A GPU where there is one: of a team, each process has its own."""
    if distributed.world_size() > 1:
        from accelerate import PartialState

        distributed.init()
        found: torch.device = PartialState().device
        return found
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(precision: str, on: torch.device) -> AbstractContextManager[object]:
    """bfloat16 where numbers may be rough, float32 where they may not; UserError for another."""
    if precision not in {"auto", "fp32", "bf16"}:
        raise UserError(f"no precision {precision!r}", hint="use auto, fp32 or bf16")
    able = on.type == "cuda" and torch.cuda.is_bf16_supported()
    half = precision == "bf16" or (precision == "auto" and able)
    return torch.autocast(on.type, torch.bfloat16, enabled=half)
