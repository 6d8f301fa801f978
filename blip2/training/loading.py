"""Models of transformers by name or folder, and what is saved: clear where it cannot be."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from regions.errors import UserError


def from_pretrained(kind: Any, name: str, todo: str, **how: Any) -> Any:  # noqa: ANN401 - of transformers
    """What `kind.from_pretrained` gives; UserError, with what to do, where it cannot be loaded."""
    try:
        return kind.from_pretrained(name, **how)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"the model {name!r} cannot be loaded: {reason:.200}", hint=todo) from error


@contextmanager
def save_errors(folder: Path) -> Iterator[None]:
    """UserError where what is written inside does not fit, or may not be written."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have theirs
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"it cannot be saved: {reason:.160}",
            where=str(folder),
            hint="make room; what was saved before is still there",
        ) from error
