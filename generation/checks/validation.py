"""What a model wrote, held against what was asked for: each failure has a reason of one word."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from generation.checks import languages
from regions import references

Why = Literal[
    "no_json",
    "cut_off",
    "refused",
    "empty",
    "fields",
    "regions",
    "leak",
    "repeat",
    "length",
    "language",
]

SHORTEST, LONGEST = 2, 120
"""Words of a text."""
ALIKE = 0.7
"""The share of common word triples from which two texts say the same (Jaccard's)."""

# What gives away that the writer saw no picture.
_LEAK = re.compile(
    r"\b(?:captions?|bounding|coordinates?|annotations?|json|verbali[sz]ations?|metadata"
    r"|(?:the|these|this) (?:text|data|list|label|input|description)s?"
    r" (?:says?|states?|mentions?|describes?|lists?|gives?|given|provided)"
    r"|(?:is|are|as) (?:described|labell?ed|listed|annotated) (?:as|in|by))\b",
    re.IGNORECASE,
)
_NUMBERS = re.compile(r"[(\[]\s*0?\.\d+\s*,|\b0\.\d{2,}\s*,\s*0\.\d{2,}")
_WORD = re.compile(r"\w+")
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why something is kept out, in one word and in more, and what it was."""

    reason: Why
    detail: str
    text: str = ""


def parse(reply: str, finish: str, field: str) -> list[Any] | Fault:
    """The list `field` of a reply: an object, alone, fenced, or with prose around it."""
    found = parse_object(reply, finish, field)
    if isinstance(found, Fault):
        return found
    listed: list[Any] = found[field]
    return listed


def parse_object(reply: str, finish: str, field: str) -> dict[str, Any] | Fault:
    """The object of a reply that holds the list `field`; a bare list is taken for that."""
    if finish in {"refusal", "content_filter"}:
        return Fault("refused", f"the model stopped with {finish}", reply)
    if not reply.strip():
        return Fault("empty", f"nothing was written; the model stopped with {finish}")
    for piece in _candidates(reply):
        try:
            found = orjson.loads(piece)
        except orjson.JSONDecodeError:
            continue
        if isinstance(found, list):
            return {field: found}
        if isinstance(found, dict) and isinstance(found.get(field), list):
            return found
    if finish == "length":
        return Fault("cut_off", "the reply ended at the longest that was allowed", reply)
    return Fault("no_json", f"no object with a list {field!r}", reply)


def _candidates(reply: str) -> Iterable[str]:
    yield reply
    yield from _FENCE.findall(reply)
    first, last = reply.find("{"), reply.rfind("}")
    if 0 <= first < last:
        yield reply[first : last + 1]


def texts(found: object, names: Sequence[str], language: str) -> list[str] | Fault:
    """The texts of an object's fields, checked for length and leaks, and their language."""
    if not isinstance(found, dict):
        return Fault("fields", "no object", shown(found))
    values = []
    for name in names:
        value = found.get(name)
        if not isinstance(value, str) or not value.strip():
            return Fault("fields", f"{name} is missing or no text", shown(found))
        value = " ".join(value.replace("\0", "").split())
        if fault := _text_fault(name, value):
            return fault
        values.append(value)
    return language_fault(" ".join(values), language) or values


def _text_fault(name: str, value: str) -> Fault | None:
    words = len(value.split())
    if not SHORTEST <= words <= LONGEST and name in {"question", "rationale"}:
        return Fault("length", f"{name} has {words} words", value)
    if fault := length_fault(name, value):
        return fault
    if leak := _LEAK.search(value) or _NUMBERS.search(value):
        return Fault("leak", f"{name} says {leak[0]!r}", value)
    return None


def length_fault(name: str, value: str) -> Fault | None:
    """What is wrong with a text that is much too long."""
    words = len(value.split())
    return Fault("length", f"{name} has {words} words", value) if words > 8 * LONGEST else None


def language_fault(text: str, language: str) -> Fault | None:
    """What is wrong with a text that is not in the language that was asked for."""
    found = languages.other(text, language)
    return Fault("language", f"it is in {found}, not in {language}", text) if found else None


def regions_fault(
    said: Sequence[str], listed: object, known: Collection[int], *, by_number: bool
) -> list[int] | Fault:
    """The regions that texts are about, in order; by number in the text, or as listed beside it."""
    text = " ".join(said)
    mentioned = references.mentioned(text)
    if by_number:
        if wrong := next(filter(None, (references.check(t, known) for t in said)), None):
            return Fault("regions", wrong, text)
        if not mentioned:
            return Fault("regions", "points at no region", text)
        return list(mentioned)
    if mentioned:
        return Fault("regions", f"names region [{mentioned[0]}] by number", text)
    numbers = listed if isinstance(listed, list) else []
    if not numbers or any(type(n) is not int or n not in known for n in numbers):
        return Fault("regions", f"lists regions that are not there: {shown(listed)}", text)
    return list(dict.fromkeys(numbers))


class Repeats:
    """Texts about one image, of which no two say the same."""

    def __init__(self, standing: Iterable[str]) -> None:
        self._seen = [_shingles(text) for text in standing]

    def add(self, text: str) -> bool:
        """Whether a text is new; if so, it stands from now on."""
        mine = _shingles(text)
        if any(len(mine & other) >= ALIKE * len(mine | other) for other in self._seen):
            return False
        self._seen.append(mine)
        return True


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return frozenset(zip(words, words[1:], words[2:], strict=False)) or frozenset([tuple(words)])


def shown(found: object) -> str:
    """Whatever a model wrote, as text for whoever looks into it."""
    return orjson.dumps(found, default=str, option=orjson.OPT_NON_STR_KEYS).decode()[:4000]
