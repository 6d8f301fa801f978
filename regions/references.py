"""References such as `[3]` in text: a number without sign or leading zeros in square brackets.

All other brackets are plain text. `render` is the inverse of `parse`. `from_tokens` is the inverse
of `to_tokens` on canonical texts and token lists; on others they change only spacing.
"""

import re
from collections.abc import Collection, Iterable, Mapping

Token = str | list[int]
"""A word, or a list of region numbers, as in the released rows."""

# At most nine digits, so that numbers fit into 32 bits and int() is fast on hostile text.
_MAX_NUMBER = 999_999_999
_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
_REFERENCE = re.compile(rf"\[({_NUMBER})\]")
_ADJACENT = re.compile(rf"((?:\[{_NUMBER}\])+)")
# What is meant as a reference but is not one: digits, signs, commas and spaces in brackets, or a
# number whose bracket is not closed. No part matches past the next bracket, so time is linear.
_MALFORMED = re.compile(
    rf"\[(?!{_NUMBER}\])(?=[^\[\]]*[0-9])[\s0-9,+-]++\]|\[[0-9][^\[\]]*+(?=\[|\Z)"
)

_OPENING, _CLOSING = "({", ".,!?;:)}"
# Spaces between tokens that are not written in text.
_SPACE_AFTER_OPENING = re.compile(rf"(?<!\S)([{_OPENING}]++) ")
_SPACE_BEFORE_SUFFIX = re.compile(rf"(\[{_NUMBER}\]) (?=['\u2019](?:s|re|ve|ll|d|m)(?!\S))")
_SPACE_BEFORE_CLOSING = re.compile(rf" (?=[{_CLOSING}]++(?!\S))")


def parse(text: str) -> list[str | int]:
    """Split a text into non-empty strings and region numbers.

    >>> parse("Why does [2] look at [0]?")
    ['Why does ', 2, ' look at ', 0, '?']
    """
    parts = _REFERENCE.split(text)
    return [int(part) if i % 2 else part for i, part in enumerate(parts) if part]


def render(parts: Iterable[str | int]) -> str:
    """Join a parsed text: the inverse of `parse`."""
    return "".join(part if isinstance(part, str) else f"[{part}]" for part in parts)


def mentioned(text: str) -> tuple[int, ...]:
    """Return the numbers of the regions that a text mentions, each once, in order.

    >>> mentioned("[2] hugs [0], and [0] smiles")
    (2, 0)
    """
    return tuple(dict.fromkeys(map(int, _REFERENCE.findall(text))))


def renumber(text: str, mapping: Mapping[int, int]) -> str:
    """Replace the number of each reference; ValueError for one that is not in `mapping`.

    >>> renumber("[2] hugs [0]", {0: 1, 2: 0})
    '[0] hugs [1]'
    """
    if missing := [number for number in mentioned(text) if number not in mapping]:
        raise ValueError(f"no new number for region [{missing[0]}]")
    return _REFERENCE.sub(lambda match: f"[{mapping[int(match[1])]}]", text)


def drop_other_references(text: str, numbers: Collection[int]) -> str:
    """Remove the brackets of references to other regions than `numbers`.

    >>> drop_other_references("[0] is near [7].", [0])
    '[0] is near 7.'
    """
    return render(
        part if isinstance(part, str) or part in numbers else str(part) for part in parse(text)
    )


def check(text: str, numbers: Collection[int]) -> str | None:
    """Return why a text is not a valid text about the regions `numbers`, else None.

    >>> check("[0] waves at [7]", {0, 1})
    'names region [7], which the image lacks'
    >>> check("[0, 1] wave", {0, 1})
    'writes a reference as [0, 1]: one number in brackets is needed, such as [0]'
    """
    if match := _MALFORMED.search(text):
        return (
            f"writes a reference as {match[0][:20].strip()}: "
            "one number in brackets is needed, such as [0]"
        )
    for number in mentioned(text):
        if number not in numbers:
            return f"names region [{number}], which the image lacks"
    return None


def to_tokens(text: str) -> list[Token]:
    """Split a text into the token list of released rows: a canonical one.

    Adjacent references are one token; each punctuation mark around a word is a token.

    >>> to_tokens("What are [4][5] doing (today)?")
    ['What', 'are', [4, 5], 'doing', '(', 'today', ')', '?']
    """
    tokens: list[Token] = []
    for chunk in text.split():
        for i, piece in enumerate(_ADJACENT.split(chunk)):
            if i % 2:
                tokens.append([int(number) for number in _REFERENCE.findall(piece)])
            else:
                bare = piece.lstrip(_OPENING)
                word = bare.rstrip(_CLOSING)
                tokens += piece[: len(piece) - len(bare)]
                tokens += [word] if word else []
                tokens += bare[len(word) :]
    return tokens


def from_tokens(tokens: Iterable[Token]) -> str:
    """Join a token list of released rows to a canonical text; ValueError for an invalid token.

    There is one space between tokens, none around punctuation before or after a word, and none
    between a reference and 's.

    >>> from_tokens(["Is", [4], "'s", "dog", "near", [0, 2], "?"])
    "Is [4]'s dog near [0][2]?"
    """
    return text_and_numbers(tokens)[0]


def text_and_numbers(tokens: Iterable[Token]) -> tuple[str, list[int]]:
    """Return the text of a token list, and the numbers in its tokens that are lists.

    >>> text_and_numbers(["Is", [4], "here", "?"])
    ('Is [4] here?', [4])
    """
    words: list[str] = []
    numbers: list[int] = []
    for token in tokens:
        if isinstance(token, str):
            words.append(token)
        else:
            words.append(_token_text(token))
            numbers += token
    text = " ".join(words)
    # Of all white space only the space is printable.
    if not text.isprintable() or "  " in text or text != text.strip():
        text = " ".join(text.split())
    # Most texts have neither, and a substring search is ten times faster than the pattern.
    if "(" in text or "{" in text:
        text = _SPACE_AFTER_OPENING.sub(r"\1", text)
    if "] '" in text or "] \u2019" in text:
        text = _SPACE_BEFORE_SUFFIX.sub(r"\1", text)
    return _SPACE_BEFORE_CLOSING.sub("", text), numbers


def _token_text(token: Token) -> str:
    numbers = token if isinstance(token, list) else []
    for number in numbers:
        if type(number) is not int or not 0 <= number <= _MAX_NUMBER:
            break
    else:
        if numbers:
            return f"[{numbers[0]}]" if len(numbers) == 1 else render(numbers)
    raise ValueError(f"a token must be a word or a list of region numbers, not {token!r:.40}")
