"""The pages' words in other languages: English sentences are the keys, as in gettext.

A language is a JSON file here; a test holds that it knows every sentence that annotators see.
"""

import json
from functools import lru_cache
from pathlib import Path

_HERE = Path(__file__).parent
NAMES = {"en": "English", "de": "Deutsch"}


@lru_cache
def translations(language: str) -> dict[str, str]:
    """What a language says for each English sentence; empty for English."""
    if language not in NAMES or language == "en":
        return {}
    found: dict[str, str] = json.loads((_HERE / f"{language}.json").read_text("utf-8"))
    return found


def preferred_language(accept_language: str) -> str:
    """The language that a browser asks for, of those we have.

    >>> preferred_language("fr-CH, de;q=0.8, en;q=0.5")
    'de'
    """
    for part in accept_language.split(","):
        code = part.split(";")[0].strip().lower()[:2]
        if code in NAMES:
            return code
    return "en"
