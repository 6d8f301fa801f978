"""Pieces of a text that brackets enclose, and the complete items of one that breaks off."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(r'\\.|["{}\[\]]', re.DOTALL)
_BRACKET = re.compile(r"[{\[]")
_AFTER_ITEM = re.compile(r"\s*(?:[,\]}]|\Z)")
_CLOSING = {"{": "}", "[": "]"}
_ONLY_CLOSING = re.compile(r"[\s,\]}`]*")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a text from an opening bracket to the one that closes it, or to the end."""

    start: int
    end: int
    is_closed: bool
    complete: str = ""
    """Of a span that is not closed: its complete items, closed; empty if there are none."""
    rest: str = ""
    """Of such a span: what follows its complete items."""

    @property
    def is_cut_off(self) -> bool:
        """Whether the text breaks off within an item."""
        return not self.is_closed and not _ONLY_CLOSING.fullmatch(self.rest)


def next_span(text: str, start: int) -> Span | None:
    """Return the first span at or after `start`; None if there is no bracket.

    Brackets in double quotes do not count. An item is an object in a list.

    >>> next_span('Here: [{"a": "]"}].', 0)
    Span(start=6, end=18, is_closed=True, complete='', rest='')
    >>> next_span('{"x": [{"a": 1}, {"a": 2}, {"a', 0).complete
    '{"x": [{"a": 1}, {"a": 2}]}'
    """
    opening = _BRACKET.search(text, start)
    if opening is None:
        return None
    stack: list[str] = []
    best: tuple[int, int, tuple[str, ...]] | None = None
    in_string = False
    for position, token in _tokens(text, opening.start()):
        if token == '"':  # noqa: S105 - a token of JSON
            in_string = not in_string
        elif in_string:
            continue
        elif token in _CLOSING:
            stack.append(token)
        else:
            opened = stack.pop()
            if not stack:
                return Span(opening.start(), position + 1, is_closed=True)
            is_item = (opened, token, stack[-1]) == ("{", "}", "[")
            if is_item and _AFTER_ITEM.match(text, position + 1):
                depth = len(stack)
                if best is None or depth <= best[0]:
                    best = depth, position + 1, tuple(stack)
    if best is None:
        return Span(opening.start(), len(text), is_closed=False, rest=text[opening.start() :])
    _, end, opened_before = best
    closing = "".join(_CLOSING[bracket] for bracket in reversed(opened_before))
    return Span(
        opening.start(),
        len(text),
        is_closed=False,
        complete=text[opening.start() : end] + closing,
        rest=text[end:],
    )


def _tokens(text: str, start: int) -> Iterator[tuple[int, str]]:
    for match in _TOKEN.finditer(text, start):
        if len(match[0]) == 1:
            yield match.start(), match[0]
