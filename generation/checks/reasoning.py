"""Reasoning that models write into their replies between `<think>` and `</think>`."""

import re

_NAMES = "think|thinking|thought|reasoning"
_OPENING = re.compile(rf"<({_NAMES})>", re.IGNORECASE)
_CLOSING = re.compile(rf"</(?:{_NAMES})>", re.IGNORECASE)


def without_reasoning(reply: str) -> str:
    """Return what follows the reasoning at the beginning of a reply; empty if it never ends.

    The opening tag may be missing, since some chat templates end with it.

    >>> without_reasoning("<think>{a draft}</think> [1]"), without_reasoning("Hm.</think>[1]")
    ('[1]', '[1]')
    >>> without_reasoning("<think>{a dr"), without_reasoning("[1]")
    ('', '[1]')
    """
    text = reply.lstrip()
    if _OPENING.match(text):
        end = _last(text)
        return text[end:].strip() if end else ""
    if text.startswith(("{", "[")):
        return reply  # a tag in it is part of a text
    return text[_last(text) :].strip() if _last(text) else reply


def _last(text: str) -> int:
    """Return the end of the last closing tag; 0 without one."""
    return max((match.end() for match in _CLOSING.finditer(text)), default=0)
