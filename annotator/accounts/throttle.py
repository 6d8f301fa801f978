"""Limits on sign-in attempts: each is counted, in one transaction, before its password is verified.

A browser from which the person of a name has signed in before presents a device cookie (OWASP,
"Slow down online guessing attacks with device cookies"). Its attempts count for this browser alone;
all others count for name and address, for the name, and for the address. So guesses from elsewhere
hold up no one who uses a browser of theirs.
"""

import secrets
from collections.abc import Mapping

from sqlalchemy import ColumnElement, delete, func, select, text
from sqlalchemy.orm import Session

from annotator.accounts.digests import digest
from db.schema import FailedLogin, KnownDevice, Person
from db.store.clock import now
from db.store.session import Store
from regions.errors import UserError

DEVICE_DAYS = 180
WINDOW_MINUTES = 15
MAX_FAILURES: Mapping[str, int] = {"device": 5, "pair": 5, "name": 30, "address": 60}
"""Attempts in the window: from a known device, and from others, for a name from one address, for
a name, and from an address."""

_WINDOW_MS = WINDOW_MINUTES * 60_000
_DEVICE_MS = DEVICE_DAYS * 24 * 3_600_000
# Readers are not held up. SQLite has one writer at a time anyway.
_LOCK = text("LOCK TABLE failed_logins IN SHARE ROW EXCLUSIVE MODE")


class TooManyAttemptsError(UserError):
    """Too many wrong passwords for this name or from this address."""


def count_attempt(store: Store, name: str, address: str, device: str) -> int:
    """Count an attempt as failed and return its id, for `forget_attempt`.

    TooManyAttemptsError if there were too many, so that no password is verified.
    """
    with store.read() as session:  # refused without the lock that writers need
        _check_limits(session, name, address, _known_digest(session, name, device))
    with store.write() as session:
        if session.get_bind().dialect.name == "postgresql":
            session.execute(_LOCK)
        session.execute(delete(FailedLogin).where(FailedLogin.created < now() - _WINDOW_MS))
        known = _known_digest(session, name, device)
        _check_limits(session, name, address, known)
        attempt = FailedLogin(name=name, address=address, device=known, created=now())
        session.add(attempt)
        session.flush()
        return attempt.id


def forget_attempt(session: Session, attempt: int) -> None:
    """Remove an attempt that has succeeded."""
    session.execute(delete(FailedLogin).where(FailedLogin.id == attempt))


def remember_device(session: Session, person_id: int, device: str) -> str:
    """Make a browser known as the person's; returns its cookie, a new one if it has none of ours.

    A cookie that was never issued is not accepted: somebody else may have planted it.
    """
    session.execute(delete(KnownDevice).where(KnownDevice.expires < now()))
    is_issued = session.scalar(
        select(func.count()).where(KnownDevice.token_digest == digest(device))
    )
    cookie = device if is_issued else secrets.token_urlsafe(32)
    expires = now() + _DEVICE_MS
    session.merge(KnownDevice(person_id=person_id, token_digest=digest(cookie), expires=expires))
    return cookie


def _known_digest(session: Session, name: str, device: str) -> str | None:
    """The digest of a device cookie if the person of that name has signed in with it."""
    if not device:
        return None
    return session.scalar(
        select(KnownDevice.token_digest)
        .join(Person, Person.id == KnownDevice.person_id)
        .where(
            KnownDevice.token_digest == digest(device),
            KnownDevice.expires > now(),
            Person.name == name,
        )
    )


def _check_limits(session: Session, name: str, address: str, known: str | None) -> None:
    is_recent = FailedLogin.created > now() - _WINDOW_MS
    by_name = FailedLogin.name == name
    is_stranger, by_address = FailedLogin.device.is_(None), FailedLogin.address == address
    counted: dict[str, list[ColumnElement[bool]]] = {
        "pair": [is_stranger, by_name, by_address],
        "name": [is_stranger, by_name],
        "address": [is_stranger, by_address],
    }
    if known is not None:
        counted = {"device": [FailedLogin.device == known, by_name]}
    for scope, conditions in counted.items():
        count = select(func.count()).select_from(FailedLogin).where(is_recent, *conditions)
        if (session.scalar(count) or 0) >= MAX_FAILURES[scope]:
            raise TooManyAttemptsError(
                "too many wrong passwords", hint=f"try again in {WINDOW_MINUTES} minutes"
            )
