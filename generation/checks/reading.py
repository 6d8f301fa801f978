"""Reads the JSON of a reply: between other text, slightly wrong, or cut off after complete items.

Strict JSON is tried first. What is not strict JSON is repaired by `json_repair`, and used only as
far as it follows the task's schema exactly and says nothing that the reply does not say: a repair
never adds content.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import json_repair
import orjson

from db.store.texts import clean
from generation.checks.reasoning import without_reasoning
from generation.checks.spans import Span, next_span
from generation.checks.validation import ValidationFailure, json_excerpt

Schema = Mapping[str, Any]

_MAX_SCANS = 4
"""Times that a reply may be scanned for spans: brackets of prose cost one each."""
_MAX_REPAIR = 40_000
"""Characters of a reply that are repaired, since the time is quadratic."""
_MAX_NESTING = 4
"""Of the object within others, such as `{"result": {"triples": [...]}}`."""
_MAX_DEPTH = 100
"""Brackets within brackets."""
_BRACKETS = re.compile(r"[\[\]{}]")
_ENDS_LIKE_A_LIST = re.compile(r"\}\s*,?\s*\]\s*\}?[\s`]*\Z")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_NOT_A_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """The object of a reply, with a list of items in the field that was asked for."""

    data: dict[str, Any]
    is_repaired: bool = False
    rejected: list[ValidationFailure] = field(default_factory=list)
    """What was left out: items that are cut off, or that a repair has not saved."""


def parse_reply(
    reply: str, finish_reason: str, name: str, schema: Schema
) -> ParsedReply | ValidationFailure:
    """Return the object of a reply that has a list in the field `name` of its schema.

    The object may stand in a code block, between other text, or within other objects; several
    objects are joined. A list of items, or items one after the other, count as the field's value.
    """
    text = without_reasoning(reply)
    is_refusal = finish_reason in {"refusal", "content_filter"}
    if text.strip() and not is_refusal and not _is_too_deep(text):
        parsed = _Reader(text, finish_reason, name, schema).read()
        if parsed is not None:
            return parsed
    if is_refusal:
        return ValidationFailure("refused", f"the model stopped with {finish_reason}", reply)
    if finish_reason == "length":
        return ValidationFailure("cut_off", "the reply reached the maximum length", reply)
    if not reply.strip():
        return ValidationFailure("empty", f"empty reply; the model stopped with {finish_reason}")
    if not text.strip():
        return ValidationFailure("cut_off", "the reply ends within the model's reasoning", reply)
    return ValidationFailure("no_json", f"no JSON object with a list {name!r}", reply)


class _Reader:
    """Reads one reply."""

    def __init__(self, text: str, finish_reason: str, name: str, schema: Schema) -> None:
        self._text, self._finish, self._name = text, finish_reason, name
        self._fields: Mapping[str, Schema] = schema["properties"]
        self._item: Schema = self._fields[name]["items"]
        self._item_keys = frozenset(self._item["properties"])
        self._is_repaired = False
        self._to_repair = _MAX_REPAIR
        self._is_cut_off = False
        self._rejected: list[ValidationFailure] = []

    def read(self) -> ParsedReply | None:
        """Return what the reply has for the field; None if it has nothing."""
        whole = _strict(self._text)
        data = self._match(whole) if isinstance(whole, dict | list | str) else None
        if data is None:
            data = self._join(list(self._parts()))
        if data is None:
            return None
        return ParsedReply(data, self._is_repaired, self._rejected)

    def _parts(self) -> Iterator[dict[str, Any]]:
        """Yield the objects of the reply's spans."""
        position, left = 0, _MAX_SCANS * len(self._text)
        while left > 0 and (span := next_span(self._text, position)):
            left -= span.end - position
            data = self._read_span(span)
            # A span without the field may be a bracket of the prose before it.
            position = span.start + 1 if data is None else span.end
            if data is not None:
                yield data

    def _read_span(self, span: Span) -> dict[str, Any] | None:
        text = self._text[span.start : span.end]
        if span.is_closed:
            return self._decode(text, may_repair=not self._is_cut_off)
        # From here on, a quotation mark too many could make a part of a text look like an item.
        self._is_cut_off = True
        is_even = span.complete.count('"') % 2 == span.complete.count('\\"') % 2
        if span.complete and (data := self._decode(span.complete, may_repair=is_even)) is not None:
            self._is_repaired = True
            if span.is_cut_off or self._finish == "length":
                detail = f"the reply breaks off after {len(data[self._name])} complete items"
                self._rejected.append(ValidationFailure("cut_off", detail, span.rest.strip()))
            return data
        # A quotation mark too many hides the end of the span.
        end = _ENDS_LIKE_A_LIST.search(text)
        return self._decode(text, may_repair=True) if end and self._finish != "length" else None

    def _decode(self, text: str, *, may_repair: bool) -> dict[str, Any] | None:
        if isinstance(value := _strict(text), dict | list):
            return self._match(value)
        lower = text.lower()
        self._to_repair -= len(text)
        if self._to_repair < 0 or not any(k in lower for k in (self._name, *self._item_keys)):
            return None
        data = self._match(_tolerant(text))
        if data is not None:
            self._is_repaired = True
            return data
        data = self._match(_repaired(text)) if may_repair else None
        if data is None or not self._keep_what_the_reply_says(data, text):
            return None
        self._is_repaired = True
        return data

    def _match(self, value: Any, depth: int = 0) -> dict[str, Any] | None:  # noqa: ANN401 - JSON
        """Return a value as the object that was asked for; None if it is not and has none."""
        if isinstance(value, str) and depth == 0 and value.lstrip()[:1] in {"{", "["}:
            value = _strict(value)  # JSON within a JSON string
        if isinstance(value, list):
            items = [_renamed(item, self._item_keys) for item in value]
            if any(isinstance(item, dict) and item.keys() & self._item_keys for item in items):
                return {self._name: items}
            inner: list[Any] = value[:1] if len(value) == 1 else []
        elif isinstance(value, dict):
            if (data := self._match_object(_renamed(value, frozenset(self._fields)))) is not None:
                return data
            inner = list(value.values())
        else:
            return None
        if depth >= _MAX_NESTING:
            return None
        found = [data for item in inner if (data := self._match(item, depth + 1)) is not None]
        return found[0] if len(found) == 1 else None

    def _match_object(self, value: dict[str, Any]) -> dict[str, Any] | None:
        listed = value.get(self._name)
        if isinstance(listed, dict) and listed.keys() & self._item_keys:
            listed = [listed]
        if isinstance(listed, list):
            return value | {self._name: [_renamed(item, self._item_keys) for item in listed]}
        if listed is None and len(self._fields) > 1 and value.keys() & set(self._fields):
            return value | {self._name: []}
        item = _renamed(value, self._item_keys)
        if len(item.keys() & self._item_keys) >= min(2, len(self._item_keys)):
            return {self._name: [item]}
        return None

    def _keep_what_the_reply_says(self, data: dict[str, Any], text: str) -> bool:
        """Keep those repaired items that follow the schema and quote the reply; whether any do."""
        said = _words(_ESCAPE.sub(_unescape, text))
        kept = []
        for item in data[self._name]:
            if _is_complete(item, self._item) and _is_said(item, said):
                kept.append(item)
            else:
                detail = "an item is not JSON, and cannot be repaired without a guess"
                self._rejected.append(ValidationFailure("fields", detail, json_excerpt(item)))
        data[self._name] = kept
        for name, schema in self._fields.items():
            if name != self._name and name in data:
                value = data[name] if schema["type"] == "array" else [data[name]]
                if not isinstance(value, list) or not _is_said(value, said):
                    del data[name]
        return bool(kept) or (len(self._fields) > 1 and bool(data.keys() - {self._name}))

    def _join(self, parts: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Join the objects of a reply: lists one after the other, of other fields the first."""
        if not parts:
            return None
        joined: dict[str, Any] = {}
        for part in parts:
            for key, value in part.items():
                if isinstance(value, list) and isinstance(joined.get(key), list):
                    joined[key] += [item for item in value if item not in joined[key]]
                elif key not in joined or joined[key] in (None, ""):
                    joined[key] = list(value) if isinstance(value, list) else value
        return joined


def _is_too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= _MAX_DEPTH:
        return False
    depth = 0
    for bracket in _BRACKETS.findall(text):
        depth += 1 if bracket in "[{" else -1
        if depth > _MAX_DEPTH:
            return True
    return False


def _strict(text: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _tolerant(text: str) -> Any:  # noqa: ANN401 - JSON
    """Return JSON that has line breaks in texts, lone surrogates, or NaN, which becomes null."""
    try:
        return clean(json.loads(text, strict=False, parse_constant=lambda _: None))
    except (ValueError, RecursionError):
        return None


def _repaired(text: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return clean(json_repair.loads(text, skip_json_loads=True))
    except (ValueError, RecursionError):
        return None


def _renamed(value: Any, names: frozenset[str]) -> Any:  # noqa: ANN401 - JSON
    """Return an object with those keys that are `names` in other case or with spaces."""
    if not isinstance(value, dict) or names <= value.keys():
        return value
    renamed = {}
    for key, item in value.items():
        name = "_".join(key.lower().replace("-", " ").split())
        renamed[name if name in names and name not in value else key] = item
    return renamed


def _is_complete(item: Any, schema: Schema) -> bool:  # noqa: ANN401 - JSON
    """Return whether a repaired item has all texts of its schema, and no other text.

    A text with quotation marks in it may be repaired into several.
    """
    if not isinstance(item, dict):
        return False
    fields = schema["properties"]
    texts = [name for name, kind in fields.items() if kind.get("type") == "string"]
    required = [name for name in texts if "enum" not in fields[name]]
    return all(isinstance(item.get(name), str) for name in required) and not any(
        isinstance(item[name], str) for name in item.keys() - fields.keys()
    )


def _is_said(value: Any, said: str) -> bool:  # noqa: ANN401 - JSON
    """Return whether the reply has the words of every text in a value."""
    return all(_words(text) in said for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else ():
        yield from _texts(item)
    for item in value if isinstance(value, list) else ():
        yield from _texts(item)


def _words(text: str) -> str:
    return _NOT_A_WORD.sub("", text)


def _unescape(match: re.Match[str]) -> str:
    if match[1]:
        return chr(int(match[1], 16))
    return " " if match[2] in "nrtbf" else match[2]
