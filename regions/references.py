"""References such as `[3]` in text: a number without sign or leading zeros in square brackets.

All other brackets are plain text. `parse` and `render` are inverse; so are `to_tokens` and
`from_tokens` on canonical texts and token lists, and elsewhere they change nothing but spacing.
"""

import re
from collections.abc import Collection, Iterable, Mapping

Token = str | list[int]
"""A word, or the region ids that stand in its place, as the released rows write them."""

# Nine digits keep every number within 32 bits, and int() away from hostile lengths.
_LARGEST = 999_999_999
_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
_REFERENCE = re.compile(rf"\[({_NUMBER})\]")
_ADJACENT = re.compile(rf"((?:\[{_NUMBER}\])+)")
# What somebody meant as a reference: digits, signs, commas and spaces alone in brackets, or a
# number whose bracket never closes. No piece looks past the next bracket: linear in hostile text.
_MISWRITTEN = re.compile(
    rf"\[(?!{_NUMBER}\])(?=[^\[\]]*[0-9])[\s0-9,+-]++\]|\[[0-9][^\[\]]*+(?=\[|\Z)"
)

_OPENING, _CLOSING = "({", ".,!?;:)}"
# The spaces between tokens that a person would not write.
_BEHIND_OPENING = re.compile(rf"(?<!\S)([{_OPENING}]++) ")
_BEFORE_ENDING = re.compile(rf"(\[{_NUMBER}\]) (?=['\u2019](?:s|re|ve|ll|d|m)(?!\S))")
_BEFORE_CLOSING = re.compile(rf" (?=[{_CLOSING}]++(?!\S))")


def parse(text: str) -> list[str | int]:
    """Cut a text into plain strings, none empty, and region numbers.

    >>> parse("Why does [2] look at [0]?")
    ['Why does ', 2, ' look at ', 0, '?']
    """
    pieces = _REFERENCE.split(text)
    return [int(p) if i % 2 else p for i, p in enumerate(pieces) if p]


def render(parts: Iterable[str | int]) -> str:
    """Put a text together again: the inverse of `parse`."""
    return "".join(part if isinstance(part, str) else f"[{part}]" for part in parts)


def mentioned(text: str) -> tuple[int, ...]:
    """Return the numbers of the regions that a text mentions, each once, in order of mention.

    >>> mentioned("[2] hugs [0], and [0] smiles")
    (2, 0)
    """
    return tuple(dict.fromkeys(map(int, _REFERENCE.findall(text))))


def renumber(text: str, mapping: Mapping[int, int]) -> str:
    """Give each region mentioned its new number; ValueError for one that `mapping` lacks.

    >>> renumber("[2] hugs [0]", {0: 1, 2: 0})
    '[0] hugs [1]'
    """
    if lost := [number for number in mentioned(text) if number not in mapping]:
        raise ValueError(f"no new number for region [{lost[0]}]")
    return _REFERENCE.sub(lambda found: f"[{mapping[int(found[1])]}]", text)


def drop_other_references(text: str, numbers: Collection[int]) -> str:
    """A text in which brackets around other numbers are gone: nothing is marked by them.

    >>> drop_other_references("[0] is near [7].", [0])
    '[0] is near 7.'
    """
    return render(
        part if isinstance(part, str) or part in numbers else str(part) for part in parse(text)
    )


def check(text: str, numbers: Collection[int]) -> str | None:
    """Return why a text is no text about the regions `numbers`, else None.

    >>> check("[0] waves at [7]", {0, 1})
    'names region [7], which the image lacks'
    >>> check("[0, 1] wave", {0, 1})
    'writes a reference as [0, 1]: one number in brackets is needed, such as [0]'
    """
    if found := _MISWRITTEN.search(text):
        return (
            f"writes a reference as {found[0][:20].strip()}: "
            "one number in brackets is needed, such as [0]"
        )
    for number in mentioned(text):
        if number not in numbers:
            return f"names region [{number}], which the image lacks"
    return None


def to_tokens(text: str) -> list[Token]:
    """Cut a text into the token list of released rows.

    Adjacent references make one token; each mark that opens or closes a word makes its own.
    Token lists of this form are the canonical ones.

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
    """Join a token list of released rows; ValueError names a token that is neither word nor ids.

    Texts of this form are the canonical ones: one space between tokens, none around punctuation
    that opens or closes a word, and none between a reference and its 's.

    >>> from_tokens(["Is", [4], "'s", "dog", "near", [0, 2], "?"])
    "Is [4]'s dog near [0][2]?"
    """
    words = " ".join([t if type(t) is str else _token_text(t) for t in tokens]).split()
    text = " ".join(words)
    # Most texts have neither, and a look is ten times cheaper than a pattern at every place.
    if "(" in text or "{" in text:
        text = _BEHIND_OPENING.sub(r"\1", text)
    if "] '" in text or "] \u2019" in text:
        text = _BEFORE_ENDING.sub(r"\1", text)
    return _BEFORE_CLOSING.sub("", text)


def _token_text(token: Token) -> str:
    ids = token if isinstance(token, list) else []
    for n in ids:
        if type(n) is not int or not 0 <= n <= _LARGEST:
            break
    else:
        if ids:
            return f"[{ids[0]}]" if len(ids) == 1 else render(ids)
    raise ValueError(f"a token is a word or a list of region ids, not {token!r:.40}")
