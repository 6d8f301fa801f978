"""Load models of transformers and save weights, with errors that a user can act on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from regions.errors import UserError

_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


def from_pretrained(kind: Any, name: str, hint: str, **kwargs: Any) -> Any:  # noqa: ANN401 - of transformers
    """Return `kind.from_pretrained(name, **kwargs)`; UserError with `hint` if that fails."""
    try:
        loaded = kind.from_pretrained(name, **kwargs)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        if _lacks_processor(kind, name):
            raise UserError(
                f"the model {name!r} cannot be loaded: it has no processor",
                hint=f"copy {' or '.join(_PROCESSOR_FILES)} from the base model",
            ) from error
        reason = first_line(error)
        raise UserError(f"the model {name!r} cannot be loaded: {reason:.200}", hint=hint) from error
    _check_tokenizer(name, getattr(loaded, "tokenizer", loaded))
    return loaded


def _lacks_processor(kind: Any, name: str) -> bool:  # noqa: ANN401 - of transformers
    """Whether a processor was to be loaded from a folder that has none."""
    return (
        "Processor" in kind.__name__
        and Path(name).is_dir()
        and not any((Path(name) / file).is_file() for file in _PROCESSOR_FILES)
    )


def _check_tokenizer(name: str, tokenizer: Any) -> None:  # noqa: ANN401 - of transformers
    """Refuse the empty tokenizer that transformers makes of a folder without a tokenizer's files.

    It would encode every text as nothing.
    """
    special = getattr(tokenizer, "all_special_tokens", None)
    if special is not None and tokenizer.vocab_size <= len(special):
        raise UserError(
            f"the model {name!r} cannot be loaded: it has no tokenizer",
            hint="copy tokenizer.json and tokenizer_config.json from the base model",
        )


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
