"""Models of transformers by name or folder, with one clear message where there is none."""

from typing import Any

from safetensors import SafetensorError

from regions.errors import UserError


def pretrained(kind: Any, name: str, todo: str, **how: Any) -> Any:  # noqa: ANN401 - of transformers
    """What `kind.from_pretrained` gives; UserError, with what to do, where it cannot be loaded."""
    try:
        return kind.from_pretrained(name, **how)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"the model {name!r} cannot be loaded: {reason:.200}", todo=todo) from error
