"""Translations of the pages: as in gettext, the English texts are the keys.

A language is a JSON file in this folder; a test checks that it has every text of the pages.
"""

import json
from functools import lru_cache
from pathlib import Path

_FOLDER = Path(__file__).parent
NAMES = {"en": "English", "de": "Deutsch"}


@lru_cache
def translations(language: str) -> dict[str, str]:
    """The texts of a language by the English text; empty for English and unknown languages."""
    if language not in NAMES or language == "en":
        return {}
    texts: dict[str, str] = json.loads((_FOLDER / f"{language}.json").read_text("utf-8"))
    return texts


def preferred_language(accept_language: str) -> str:
    """The first available language of an Accept-Language header, or English.

    >>> preferred_language("fr-CH, de;q=0.8, en;q=0.5")
    'de'
    """
    for part in accept_language.split(","):
        code = part.split(";")[0].strip().lower()[:2]
        if code in NAMES:
            return code
    return "en"
