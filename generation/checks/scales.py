"""Reads judgements on the scale that a prompt states: 0.7, 70, "70%" and "7/10" are all 70 %.

A value that could be meant on two scales, or that is on none, is not read.
"""

import re
from collections.abc import Sequence

_NUMBER = r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+"
_PLAIN = re.compile(rf"({_NUMBER})")
_PERCENT = re.compile(rf"({_NUMBER})\s*(?:%|percent)", re.IGNORECASE)
_FRACTION = re.compile(rf"({_NUMBER})\s*(?:/|out of)\s*({_NUMBER})", re.IGNORECASE)
_MAX_NUMBER = 1e9
_MAX_LENGTH = 40
"""Characters of a text that may be a value."""


def read_shares(values: Sequence[object], maximum: float) -> list[float | None]:
    """Return each value as a share from 0 to 1 of a scale from 0 to `maximum`; None if unreadable.

    The values of one reply are on one scale: if none is above 1 and one is a fraction, they are
    shares. Without a fraction, 1 could be the lowest or the highest value of its scale.

    >>> read_shares([70, "70%", "7/10", "70 out of 100", 0, 1], 100)
    [0.7, 0.7, 0.7, 0.7, 0.0, 0.01]
    >>> read_shares([0.7, 1, 0], 100), read_shares([1, 0], 100), read_shares([7, 3.5], 10)
    ([0.7, 1.0, 0.0], [None, 0.0], [0.7, 0.35])
    >>> read_shares([0.7, 85, 101, -1, True, "likely", "70-80"], 100)
    [None, 0.85, None, None, None, None, None]
    """
    numbers = [_plain(value) for value in values]
    on_scale = [n for n in numbers if n is not None and 1 < n <= maximum]
    is_share = not on_scale and any(n is not None and 0 < n < 1 for n in numbers)
    return [
        _with_unit(value)
        if number is None
        else _share(number, maximum, is_share=is_share, is_on_scale=bool(on_scale))
        for value, number in zip(values, numbers, strict=True)
    ]


def _share(number: float, maximum: float, *, is_share: bool, is_on_scale: bool) -> float | None:
    if number == 0:
        return 0.0
    if is_share:
        return number if number <= 1 else None
    if number < 1 or (number == 1 and not is_on_scale and maximum != 1):
        return None
    return number / maximum if number <= maximum else None


def _plain(value: object) -> float | None:
    """Return a number without a unit; None for others, and for numbers below 0."""
    if isinstance(value, str) and len(value) <= _MAX_LENGTH:
        match = _PLAIN.fullmatch(value.strip())
        return float(match[1]) if match else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= _MAX_NUMBER else None


def _with_unit(value: object) -> float | None:
    """Return the share that a text with a unit states."""
    if not isinstance(value, str) or len(value) > _MAX_LENGTH:
        return None
    text = value.strip()
    if match := _PERCENT.fullmatch(text):
        share = float(match[1]) / 100
    elif (match := _FRACTION.fullmatch(text)) and float(match[2]) > 0:
        share = float(match[1]) / float(match[2])
    else:
        return None
    return share if share <= 1 else None
