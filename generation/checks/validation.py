"""Validation of what replies contain; everything that is rejected has a one-word reason.

Functions return what they accept, or a `ValidationFailure`; they never raise.
"""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from generation.checks.languages import unexpected_language
from regions import references

Reason = Literal[
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

MIN_WORDS, MAX_WORDS = 2, 120
"""Words of a question or rationale."""
_HARD_MAX_FACTOR = 8
"""Texts of any kind may have this many times MAX_WORDS."""
DUPLICATE_JACCARD = 0.7
"""Jaccard similarity of word trigrams from which two texts count as duplicates."""

# Phrases that reveal that the author saw a description and not the image.
_LEAK = re.compile(
    r"\b(?:captions?|bounding|coordinates?|annotations?|json|verbali[sz]ations?|metadata"
    r"|(?:the|these|this) (?:text|data|list|label|input|description)s?"
    r" (?:says?|states?|mentions?|describes?|lists?|gives?|given|provided)"
    r"|(?:is|are|as) (?:described|labell?ed|listed|annotated) (?:as|in|by))\b",
    re.IGNORECASE,
)
_COORDINATES = re.compile(r"[(\[]\s*0?\.\d+\s*,|\b0\.\d{2,}\s*,\s*0\.\d{2,}")
_WORD = re.compile(r"\w+")
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}")
_MAX_EXCERPT = 4000
"""Characters."""


@dataclass(frozen=True, slots=True)
class ValidationFailure:
    """Why a reply or a part of it is rejected; stored as a `db.schema.Rejection`."""

    reason: Reason
    detail: str
    text: str = ""


def check_texts(
    item: object, fields: Sequence[str], language: str
) -> list[str] | ValidationFailure:
    """Return the texts in `fields` of an item, with whitespace normalised.

    Checks presence, length, leaks of the prompt's data and, over all texts, the language.
    """
    if not isinstance(item, dict):
        return ValidationFailure("fields", "not an object", json_excerpt(item))
    texts = []
    for field in fields:
        value = item.get(field)
        if not isinstance(value, str) or not value.strip():
            return ValidationFailure(
                "fields", f"{field} is missing or not a text", json_excerpt(item)
            )
        text = normalise(value)
        if failure := _check_text(field, text):
            return failure
        texts.append(text)
    return check_language(" ".join(texts), language) or texts


def normalise(text: str) -> str:
    """Return a text with single spaces and without NUL characters, which PostgreSQL rejects."""
    return " ".join(text.replace("\0", "").split())


def _check_text(field: str, text: str) -> ValidationFailure | None:
    n_words = len(text.split())
    if not MIN_WORDS <= n_words <= MAX_WORDS and field in {"question", "rationale"}:
        return ValidationFailure("length", f"{field} has {n_words} words", text)
    if failure := check_length(field, text):
        return failure
    if leak := _LEAK.search(text) or _COORDINATES.search(text):
        return ValidationFailure("leak", f"{field} says {leak[0]!r}", text)
    return None


def check_length(field: str, text: str) -> ValidationFailure | None:
    """Return a failure for a text that is far too long."""
    n_words = len(text.split())
    if n_words <= _HARD_MAX_FACTOR * MAX_WORDS:
        return None
    return ValidationFailure("length", f"{field} has {n_words} words", text)


def check_language(text: str, expected: str) -> ValidationFailure | None:
    """Return a failure for a text that is certainly not in the expected language."""
    language = unexpected_language(text, expected)
    if language is None:
        return None
    return ValidationFailure("language", f"the text is in {language}, not in {expected}", text)


def check_regions(
    texts: Sequence[str], listed: object, known: Collection[int], *, by_number: bool
) -> list[int] | ValidationFailure:
    """Return the numbers of the regions that texts are about, in order.

    By number they are the references in the texts, such as `[3]`; otherwise the texts must have
    none, and the `listed` numbers count. All must be `known`.
    """
    text = " ".join(texts)
    mentioned = references.mentioned(text)
    if by_number:
        if problem := next(filter(None, (references.check(t, known) for t in texts)), None):
            return ValidationFailure("regions", problem, text)
        if not mentioned:
            return ValidationFailure("regions", "refers to no region", text)
        return list(mentioned)
    if mentioned:
        return ValidationFailure("regions", f"refers to region [{mentioned[0]}] by number", text)
    numbers = [whole_number(n) for n in listed] if isinstance(listed, list) else []
    known_numbers = [n for n in numbers if n is not None and n in known]
    if not numbers or len(known_numbers) < len(numbers):
        return ValidationFailure("regions", f"lists unknown regions: {json_excerpt(listed)}", text)
    return list(dict.fromkeys(known_numbers))


class DuplicateFilter:
    """Texts about one image, no two of which are near duplicates.

    Two texts are near duplicates if the Jaccard similarity of their sets of word trigrams is at
    least `DUPLICATE_JACCARD`.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._trigrams = [_trigrams(text) for text in texts]

    def add(self, text: str) -> bool:
        """Add a text unless it is a near duplicate; whether it was added."""
        new = _trigrams(text)
        if any(len(new & old) >= DUPLICATE_JACCARD * len(new | old) for old in self._trigrams):
            return False
        self._trigrams.append(new)
        return True


def _trigrams(text: str) -> frozenset[tuple[str, ...]]:
    """Return the set of word trigrams; of a shorter text, the text as a whole."""
    words = _WORD.findall(text.lower())
    return frozenset(zip(words, words[1:], words[2:], strict=False)) or frozenset([tuple(words)])


def whole_number(value: object) -> int | None:
    """Return a number as an integer, also if it is written as 3.0 or "3"; None for any other.

    >>> whole_number(3), whole_number("3"), whole_number(3.0), whole_number(3.5), whole_number(True)
    (3, 3, 3, None, None)
    """
    if isinstance(value, str):
        return int(value) if _WHOLE_NUMBER.fullmatch(value) else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def json_excerpt(value: object) -> str:
    """Return the start of a value as JSON, for the text of a rejection."""
    return json.dumps(value, default=str, ensure_ascii=False)[:_MAX_EXCERPT]
