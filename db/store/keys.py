"""Natural keys: a tagged digest of canonical content, so that a record comes in only once."""

import hashlib
from collections.abc import Iterable, Sequence

import orjson


def digest(tag: str, *content: object) -> str:
    """40 hex digits over `tag` and JSON-able `content`.

    >>> digest("triple", "a") == digest("triple", "a")
    True
    >>> digest("triple", "a") == digest("vote", "a")
    False
    """
    return hashlib.sha256(orjson.dumps([tag, *content])).hexdigest()[:40]


def triple_key(
    image: tuple[str, str], texts: Sequence[str], shown: Sequence[int], source: str
) -> str:
    """The key of a triple: of `image` (source, name), question-answer-rationale, shown regions."""
    return digest("triple", *image, *texts, list(shown), source)


def fingerprint(rows: Iterable[object]) -> str:
    """One key for many rows, in their order: two runs that print the same saw the same data."""
    total = hashlib.sha256()
    for row in rows:
        total.update(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    return total.hexdigest()[:40]
