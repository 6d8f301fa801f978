"""Which language a text is in, told only where there is enough of it to be sure."""

from functools import cache
from typing import Any

from regions.errors import UserError

_LETTERS = 20
"""Shorter texts, as `tortilla and taco`, could be of many languages."""
_UNLIKELY = 1e-4
"""The share at which a text is surely not in a language: names of foreign dishes have more."""


def other(text: str, wanted: str) -> str | None:
    """The language of a text where it is surely not the `wanted` one; `any` wants none.

    >>> other("Ein Mann kniet neben seinem Fahrrad und weint.", "en")
    'de'
    >>> other("A man kneels beside his bicycle and weeps.", "en") is None
    True
    """
    if wanted == "any" or sum(c.isalpha() for c in text) < _LETTERS:
        return None
    ranked = dict(_identifier().rank(text))
    return str(max(ranked, key=ranked.__getitem__)) if ranked[wanted] < _UNLIKELY else None


def check(wanted: str) -> str:
    """The code of a language, such as en; UserError for one that cannot be told."""
    if wanted in {"any", "en"}:
        return wanted  # the usual ones: eighty megabytes need not be loaded to name them
    known = _identifier().nb_classes
    if wanted not in known:
        raise UserError(
            f"no language {wanted!r}", hint=f"use any, or one of {', '.join(sorted(known))}"
        )
    return wanted


@cache
def _identifier() -> Any:  # noqa: ANN401 - the library ships no types
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
