"""JSON schemas as servers hold a model to them: every field there, and none besides."""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}


def closed(**fields: Schema) -> Schema:
    """An object of exactly these fields."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def listed(one: Schema) -> Schema:
    """A list of any length."""
    return {"type": "array", "items": one}
