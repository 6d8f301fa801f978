"""Preferences of a person: the pages' language and the keyboard shortcuts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from annotator.languages import NAMES
from db.schema import Person
from regions.errors import InvalidError

DEFAULT_KEYS = {
    "accept": "a",
    "reject": "r",
    "skip": "s",
    "undo": "u",
    "flag": "f",
    "guidelines": "g",
    "history": "h",
    "help": "?",
}
"""Actions and their default keys."""

_KEY = re.compile(r"[^\W\d_]|[?!,.;/+*#-]")  # digits select reasons


@dataclass(frozen=True, slots=True)
class Preferences:
    """The language (None: the browser's) and the key of each action."""

    language: str | None
    keys: Mapping[str, str]


def get_preferences(session: Session, person_id: int) -> Preferences:
    """A person's preferences, with defaults for what they have not set."""
    stored = session.get_one(Person, person_id).preferences
    return Preferences(stored.get("language"), DEFAULT_KEYS | stored.get("keys", {}))


def set_preferences(
    session: Session, person_id: int, *, language: str | None, keys: Mapping[str, str]
) -> Preferences:
    """Store a person's preferences; InvalidError for an unknown language and for key conflicts."""
    if language is not None and language not in NAMES:
        raise InvalidError(f"no language {language[:20]!r}", hint=f"use {', '.join(NAMES)}")
    chosen = DEFAULT_KEYS | {action: key.lower() for action, key in keys.items()}
    if unknown := chosen.keys() - DEFAULT_KEYS.keys():
        raise InvalidError(
            f"no action {min(unknown)[:40]!r}", hint=f"use {', '.join(DEFAULT_KEYS)}"
        )
    if invalid := [key for key in chosen.values() if not _KEY.fullmatch(key)]:
        raise InvalidError(f"{invalid[0][:10]!r} cannot be a key", hint="use one letter")
    if len(set(chosen.values())) < len(chosen):
        raise InvalidError("two actions have the same key", hint="choose a different key for each")
    person = session.get_one(Person, person_id)
    person.preferences = {"language": language, "keys": chosen}
    return Preferences(language, chosen)
