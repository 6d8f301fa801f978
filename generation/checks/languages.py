"""Language identification that answers only when it is certain."""

from functools import cache
from typing import Any

from regions.errors import InvalidError

_MIN_LETTERS = 20
"""Shorter texts, such as `tortilla and taco`, could be in many languages."""
_MIN_PROBABILITY = 1e-4
"""Below this a text is certainly not in a language: names of foreign dishes score higher."""


def unexpected_language(text: str, expected: str) -> str | None:
    """Return the code of a text's language if it is certainly not `expected`; None for `any`.

    >>> unexpected_language("Ein Mann kniet neben seinem Fahrrad und weint.", "en")
    'de'
    >>> unexpected_language("A man kneels beside his bicycle and weeps.", "en") is None
    True
    """
    if expected == "any" or sum(c.isalpha() for c in text) < _MIN_LETTERS:
        return None
    probabilities = dict(_identifier().rank(text))
    if probabilities[expected] >= _MIN_PROBABILITY:
        return None
    return str(max(probabilities, key=probabilities.__getitem__))


def check_code(code: str) -> str:
    """Return the code of a known language, or `any`; InvalidError for any other."""
    if code in {"any", "en"}:
        return code  # the usual ones: no need to load a model of 80 MB
    known = _identifier().nb_classes
    if code not in known:
        raise InvalidError(
            f"unknown language {code!r}", hint=f"use any, or one of {', '.join(sorted(known))}"
        )
    return code


@cache
def _identifier() -> Any:  # noqa: ANN401 - the library ships no types
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
