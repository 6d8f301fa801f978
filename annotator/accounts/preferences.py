"""What a person may set for themselves: the pages' language, and the keys."""

import re
from typing import Any

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
"""What can be done by a key, and the key that does it unless the person chose another."""

_KEY = re.compile(r"[^\W\d_]|[?!,.;/+*#-]")  # digits are reasons


def get_preferences(session: Session, person_id: int) -> dict[str, Any]:
    """A person's language and keys; language None: as the browser has it."""
    stored = session.get_one(Person, person_id).preferences
    return {"language": stored.get("language"), "keys": DEFAULT_KEYS | stored.get("keys", {})}


def set_preferences(
    session: Session, person_id: int, *, language: str | None, keys: dict[str, str]
) -> dict[str, Any]:
    """Keep a choice; UserError for a language nobody wrote and for keys that collide."""
    if language is not None and language not in NAMES:
        raise InvalidError(f"no language {language[:20]!r}", hint=f"use {', '.join(NAMES)}")
    chosen = DEFAULT_KEYS | {action: key.lower() for action, key in keys.items()}
    if unknown := chosen.keys() - DEFAULT_KEYS.keys():
        raise InvalidError(
            f"no action {min(unknown)[:40]!r}", hint=f"use {', '.join(DEFAULT_KEYS)}"
        )
    if wrong := [key for key in chosen.values() if not _KEY.fullmatch(key)]:
        raise InvalidError(f"{wrong[0][:10]!r} cannot be a key", hint="use one letter")
    if len(set(chosen.values())) < len(chosen):
        raise InvalidError("two actions have the same key", hint="give each one its own")
    person = session.get_one(Person, person_id)
    person.preferences = {"language": language, "keys": chosen}
    return person.preferences
