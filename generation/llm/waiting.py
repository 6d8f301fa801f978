"""How long to wait before a call is tried again: as the server says, or longer each time."""

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_INITIAL_BACKOFF, _MAX_BACKOFF = 0.5, 60.0
"""Seconds."""
MAX_RETRY_AFTER = 300.0
"""Seconds: a server that asks for more is asked again after this time."""


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds to wait by the headers Retry-After-Ms or Retry-After; None without one.

    Retry-After is a number of seconds, also with a fraction, or a date.

    >>> retry_after({"retry-after": "1.5"}), retry_after({"retry-after-ms": "20"})
    (1.5, 0.02)
    >>> now = datetime(2015, 10, 21, 7, 27, 30, tzinfo=UTC)
    >>> retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, now)
    30.0
    >>> retry_after({"retry-after": "86400"}), retry_after({"retry-after": "soon"})
    (300.0, None)
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) * unit
        except ValueError:
            seconds = _until(text, now) if name == "retry-after" else math.nan
        if math.isfinite(seconds):
            return min(max(seconds, 0.0), MAX_RETRY_AFTER)
    return None


def _until(date: str, now: datetime | None) -> float:
    """Return the seconds until a date of HTTP; nan if it is none."""
    try:
        then = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return math.nan
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return (then - (now or datetime.now(UTC))).total_seconds()


def backoff(attempt: int, rng: random.Random) -> float:
    """Return the seconds before the next attempt: doubled each time, with jitter of 50 %."""
    seconds: float = min(_INITIAL_BACKOFF * 2 ** (attempt - 1), _MAX_BACKOFF)
    return seconds * (0.5 + rng.random())
