"""Text that every database and file accepts: valid Unicode without NUL characters."""

from typing import Any

_SURROGATES = range(0xD800, 0xE000)


def clean_text(text: str) -> str:
    """Return a text without NUL characters, and with U+FFFD for each lone surrogate.

    PostgreSQL rejects NUL; neither database nor UTF-8 can hold a surrogate.

    >>> clean_text("a" + chr(0) + "b" + chr(0xD800)) == "ab" + chr(0xFFFD)
    True
    """
    if text.isascii():
        return text.replace("\0", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = "".join("\ufffd" if ord(c) in _SURROGATES else c for c in text)
    return text.replace("\0", "")


def clean(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a JSON value with `clean_text` applied to every text and key in it."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(key): clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return value
