"""Choose the device that a model runs on, its numeric precision, and how much fits on it."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from blip2.training import distributed
from regions.errors import InvalidError, NotFoundError

_GIB = 2**30
_CPU_BATCH_SIZE, _MAX_BATCH_SIZE = 4, 128
_GIB_PER_IMAGE = 0.5
"""GPU memory for one image in a batch, model included."""


@dataclass(frozen=True, slots=True)
class InferenceDevice:
    """A device for inference, with the dtype and the batch size that suit it."""

    name: str
    description: str
    dtype: torch.dtype
    batch_size: int

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"on {self.description} in {dtype}, at most {self.batch_size} images per batch"


def default_device() -> torch.device:
    """Return the GPU of this process if there is one, else the CPU."""
    if distributed.world_size() > 1:
        from accelerate import PartialState

        distributed.init()
        device: torch.device = PartialState().device
        return device
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def inference_device(name: str = "auto", batch_size: int = 0) -> InferenceDevice:
    """Return the device called `name`, where "auto" is the best one.

    `batch_size` 0 chooses one by the device's free memory. InvalidError for a negative one,
    NotFoundError for a device that this machine lacks.
    """
    if batch_size < 0:
        raise InvalidError(
            f"the batch size must not be negative (got {batch_size})", hint="use --batch-size 0"
        )
    if name == "auto":
        name = str(default_device())
        if name == "cpu" and torch.backends.mps.is_available():
            name = "mps"
    if name.partition(":")[0] == "cuda":
        return _cuda(name, batch_size)
    if name == "mps" and torch.backends.mps.is_available():
        return InferenceDevice("mps", "Apple's GPU", torch.float32, batch_size or _CPU_BATCH_SIZE)
    if name != "cpu":
        raise NotFoundError(f"no device {name!r} here", hint="use --device auto, cpu, cuda or mps")
    description = f"the CPU, {torch.get_num_threads()} threads"
    return InferenceDevice("cpu", description, torch.float32, batch_size or _CPU_BATCH_SIZE)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the autocast context of a precision: auto, fp32 or bf16; InvalidError for another.

    `auto` is bfloat16 on a GPU that supports it, else float32.
    """
    if precision not in {"auto", "fp32", "bf16"}:
        raise InvalidError(f"no precision {precision!r}", hint="use auto, fp32 or bf16")
    supported = device.type == "cuda" and torch.cuda.is_bf16_supported()
    enabled = precision == "bf16" or (precision == "auto" and supported)
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def _cuda(name: str, batch_size: int) -> InferenceDevice:
    try:
        free, _ = torch.cuda.mem_get_info(name)
        model = torch.cuda.get_device_name(name)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise NotFoundError(f"no device {name!r} here", hint="use --device auto or cpu") from error
    fitting = max(1, min(_MAX_BATCH_SIZE, int(free / _GIB / _GIB_PER_IMAGE)))
    description = f"{model}, {free / _GIB:.0f} GiB free"
    return InferenceDevice(name, description, torch.bfloat16, batch_size or fitting)
