"""JSON schemas for structured output: every field is required and no other is allowed."""

from typing import Any

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}


def object_of(**fields: Schema) -> Schema:
    """Return an object with exactly these fields."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def array_of(item: Schema) -> Schema:
    """Return an array of any length."""
    return {"type": "array", "items": item}
