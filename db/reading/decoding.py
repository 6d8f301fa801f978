"""Decode JSON of any content into typed records: past this boundary the types of fields are known.

A field that is null is absent. A record with any other value of a wrong type is rejected with the
field and the reason. Values of fields that are not read may be anything, also NaN.
"""

import json
import re
from collections import Counter
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)

_MESSAGE = re.compile(r"(?P<problem>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>.*)`")
_WRONG_TYPE = re.compile(r"Expected `(?P<expected>[^`]*)`, got `(?P<value>[^`]*)`")
_INDEX = re.compile(r"\[[^\]]*\]")
_WORDS = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "null": "null",
    "object": "an object",
    "str": "a text",
}
"""Names of JSON types in messages."""
HALF_SURROGATE = "contains half of a surrogate pair, which no text may"
_MAX_SHOWN_CHARACTERS = 60
_MAX_DIGITS = 300
"""Digits of an integer; a longer one is read as infinity, since converting it takes long."""


class InvalidRowError(Exception):
    """A row is rejected: the field, and the reason in words."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason

    def __reduce__(self) -> tuple[type["InvalidRowError"], tuple[str, str]]:
        return InvalidRowError, (self.field, self.reason)


class RecordDecoder(Generic[T]):
    """Decodes records of one type, a `msgspec.Struct`; `name` is what messages call a record.

    If the type forbids unknown fields, they are noted, else ignored.
    """

    def __init__(self, record_type: type[T], name: str = "line") -> None:
        self._type, self.name = record_type, name
        self._fields = {field.encode_name for field in msgspec.structs.fields(record_type)}
        self._notes_unknown = record_type.__struct_config__.forbid_unknown_fields
        self._decode = msgspec.json.Decoder(record_type).decode

    def decode(self, content: bytes | msgspec.Raw, notes: Counter[str]) -> T:
        """Return the record of a JSON text; InvalidRowError if it is not valid."""
        try:
            return self._decode(content)
        except (msgspec.MsgspecError, RecursionError):  # the second reading explains, or tolerates
            return self.convert(parse_tolerant(bytes(content), self.name), notes)

    def decode_any(self, value: object, notes: Counter[str]) -> T:
        """Return the record of a JSON text, of a part of one, or of a parsed value."""
        if isinstance(value, bytes | msgspec.Raw):
            return self.decode(value, notes)
        return self.convert(value, notes)

    def convert(self, value: object, notes: Counter[str]) -> T:
        """Return the record of a parsed JSON value; InvalidRowError if it is not valid."""
        try:
            return msgspec.convert(value, self._type)
        except (msgspec.ValidationError, UnicodeEncodeError):
            pass
        try:
            value = without_nulls(value)
            if self._notes_unknown and isinstance(value, dict):
                for field in value.keys() - self._fields:
                    notes[f"unknown fields: {_printable(field)}"] += 1
                    del value[field]
            return msgspec.convert(value, self._type)
        except msgspec.ValidationError as error:
            raise _invalid_row(str(error), self.name) from error
        except UnicodeEncodeError as error:
            raise InvalidRowError(self.name, HALF_SURROGATE) from error
        except RecursionError as error:
            raise InvalidRowError(self.name, "nested too deeply") from error


def parse_tolerant(content: bytes, name: str) -> object:
    """Return the value of a JSON text that may contain NaN or begin with a byte order mark."""
    try:
        return tolerant_decoder.decode(content.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InvalidRowError(name, f"invalid JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise InvalidRowError(name, "invalid JSON: not UTF-8") from error
    except RecursionError as error:
        raise InvalidRowError(name, "nested too deeply") from error


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


tolerant_decoder = json.JSONDecoder(parse_int=_parse_int)
"""Reads what `json` reads, and integers of any length."""


def without_nulls(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON value without the fields of objects that are null."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def _printable(text: str) -> str:
    """Return the start of a text, with escapes for what cannot be stored or shown."""
    return repr(text[:_MAX_SHOWN_CHARACTERS])[1:-1]


def _invalid_row(message: str, name: str) -> InvalidRowError:
    """Return msgspec's error message as the field and the reason in words."""
    match = _MESSAGE.fullmatch(message)
    assert match is not None
    problem, path = match["problem"], match["path"] or ""
    field = _INDEX.sub("", path).lstrip(".")
    if missing := _MISSING.fullmatch(problem):
        return InvalidRowError(f"{field}.{missing['field']}".lstrip("."), "missing")
    if wrong := _WRONG_TYPE.fullmatch(problem):
        expected = " or ".join(_WORDS.get(t, t) for t in wrong["expected"].split(" | "))
        problem = f"{_WORDS.get(wrong['value'], wrong['value'])} instead of {expected}"
    return InvalidRowError(field or name, problem)
