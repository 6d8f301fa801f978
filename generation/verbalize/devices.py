"""Where a model runs and how many pictures it takes at once, chosen from what is there."""

from dataclasses import dataclass

import torch

from regions.errors import UserError

_GIB = 2**30
_ON_CPU, _MOST = 4, 128
_SHARE = 0.5
"""GiB of a GPU's memory for a picture, model included; a batch that is too large is halved."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device of torch's, how numbers are kept there, and pictures at a time."""

    name: str
    described: str
    dtype: torch.dtype
    batch: int

    def __str__(self) -> str:
        kind = str(self.dtype).removeprefix("torch.")
        return f"on {self.described} in {kind}, at most {self.batch} pictures at once"


def choose(wanted: str, batch: int) -> Device:
    """The device `wanted`, or with `auto` the best one; `batch` 0 chooses by its memory."""
    if batch < 0:
        raise UserError(f"{batch} pictures at once", hint="use --batch-size 1 or more, or 0")
    name = _best() if wanted == "auto" else wanted
    if name.partition(":")[0] == "cuda":
        return _cuda(name, batch)
    if name == "mps" and torch.backends.mps.is_available():
        return Device("mps", "Apple's GPU", torch.float32, batch or _ON_CPU)
    if name != "cpu":
        raise UserError(f"no device {name!r} here", hint="use --device auto, cpu, cuda or mps")
    threads = torch.get_num_threads()
    return Device("cpu", f"the CPU, {threads} threads", torch.float32, batch or _ON_CPU)


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _cuda(name: str, batch: int) -> Device:
    try:
        free, _ = torch.cuda.mem_get_info(name)
        model = torch.cuda.get_device_name(name)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise UserError(f"no device {name!r} here", hint="use --device auto or cpu") from error
    fits = max(1, min(_MOST, int(free / _GIB / _SHARE)))
    return Device(name, f"{model}, {free / _GIB:.0f} GiB free", torch.bfloat16, batch or fits)
