"""Load models of transformers and save weights, with errors that a user can act on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from regions.errors import UserError


def from_pretrained(kind: Any, name: str, hint: str, **kwargs: Any) -> Any:  # noqa: ANN401 - of transformers
    """Return `kind.from_pretrained(name, **kwargs)`; UserError with `hint` if that fails."""
    try:
        return kind.from_pretrained(name, **kwargs)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = first_line(error)
        raise UserError(f"the model {name!r} cannot be loaded: {reason:.200}", hint=hint) from error


@contextmanager
def load_errors(what: str, where: Path | str, hint: str = "train it again") -> Iterator[None]:
    """Raise UserError if the saved `what` ("the critic") that the block loads is damaged."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise UserError(
            f"{what} cannot be read: {first_line(error):.200}", where=str(where), hint=hint
        ) from error


@contextmanager
def save_errors(folder: Path) -> Iterator[None]:
    """Raise UserError if what the block writes into `folder` does not fit or may not be written."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have theirs
        raise UserError(
            f"it cannot be saved: {first_line(error):.160}",
            where=str(folder),
            hint="make room; what was saved before is still there",
        ) from error


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type if there is none."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
