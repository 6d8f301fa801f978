"""Natural keys: tagged digests of canonical content, so that a record is stored only once."""

import hashlib
from collections.abc import Iterable, Sequence

import orjson

_HEX_DIGITS = 40


def digest(tag: str, *content: object) -> str:
    """Return 40 hex digits of a SHA-256 over `tag` and JSON-serialisable `content`.

    >>> digest("triple", "a") == digest("triple", "a")
    True
    >>> digest("triple", "a") == digest("vote", "a")
    False
    """
    return hashlib.sha256(orjson.dumps([tag, *content])).hexdigest()[:_HEX_DIGITS]


def triple_key(
    image: tuple[str, str], texts: Sequence[str], visible_regions: Sequence[int], source: str
) -> str:
    """Return the key of a triple.

    `image` is its source and name, `texts` are question, answer and rationale.
    """
    return digest("triple", *image, *texts, list(visible_regions), source)


def fingerprint(rows: Iterable[object]) -> str:
    """Return one digest of many rows in order: equal for runs on the same data."""
    combined = hashlib.sha256()
    for row in rows:
        combined.update(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    return combined.hexdigest()[:_HEX_DIGITS]
