"""New passwords: chosen by their owner, by a one-time link, or on the command line."""

import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.accounts import passwords, sessions, throttle
from annotator.accounts.digests import digest
from annotator.accounts.sessions import SignedIn
from db.schema import PasswordReset, Person
from db.store import queries
from db.store.clock import now
from db.store.session import Store
from regions.errors import InvalidError, NotFoundError

RESET_HOURS = 24


def change_password(
    store: Store,
    person_id: int,
    current: str,
    new: str,
    *,
    address: str = "",
    device: str = "",
    token: str = "",
) -> None:
    """Change the password of a person who knows it, and end their sessions but that of `token`.

    InvalidError for a wrong or unsuitable password, TooManyAttemptsError after too many.
    """
    passwords.check_length(new)
    with store.read() as session:
        person = queries.by_id(session, Person, person_id)
    attempt = throttle.count_attempt(store, person.name, address, device)
    if not passwords.is_correct(current, person.password_hash):
        raise InvalidError("the current password is wrong")
    new_hash = passwords.hash_password(new)
    with store.write() as session:
        throttle.forget_attempt(session, attempt)
        unchanged = select(Person).where(
            Person.id == person_id, Person.password_hash == person.password_hash
        )
        stored = session.scalar(unchanged.with_for_update())
        if stored is None:
            raise InvalidError("the current password is wrong")
        stored.password_hash = new_hash
        sessions.sign_out_others(session, person_id, token)


def set_password(session: Session, person_id: int, password: str) -> None:
    """Set an account's password; what was signed in by the old one is signed out everywhere."""
    person = _account(session, person_id)
    person.password_hash = passwords.hash_password(password)
    sessions.sign_out_everywhere(session, person_id)


def create_reset(session: Session, person_id: int) -> str:
    """Create a link by which the owner of an account chooses a new password; returns its secret.

    It works once, for a day. The old password works until then.
    """
    _account(session, person_id)
    secret = secrets.token_urlsafe(24)
    session.add(
        PasswordReset(
            token_digest=digest(secret),
            person_id=person_id,
            created=now(),
            expires=now() + RESET_HOURS * 3_600_000,
        )
    )
    return secret


def reset_owner(session: Session, secret: str, *, for_update: bool = False) -> Person:
    """The person of a reset link; NotFoundError if it was used, has expired, or is unknown."""
    query = (
        select(PasswordReset)
        .join(Person, Person.id == PasswordReset.person_id)
        .where(
            PasswordReset.token_digest == digest(secret),
            PasswordReset.expires > now(),
            Person.active,
        )
    )
    # The second of two requests with one link waits here, and then finds it used.
    reset = session.scalar(query.with_for_update() if for_update else query)
    if reset is None:
        raise NotFoundError(
            "this link has been used, has expired, or does not exist", hint="ask for a new one"
        )
    return session.get_one(Person, reset.person_id)


def use_reset(store: Store, secret: str, password: str, device: str = "") -> SignedIn:
    """Set the password of a reset link's owner, sign them out everywhere, and sign them in here."""
    with store.read() as session:
        reset_owner(session, secret)  # no hash is computed for a stranger
    new_hash = passwords.hash_password(password)
    with store.write() as session:
        person = reset_owner(session, secret, for_update=True)
        person.password_hash = new_hash
        sessions.sign_out_everywhere(session, person.id)
        return sessions.enter(session, person.id, device)


def _account(session: Session, person_id: int) -> Person:
    """The account, which must have a password; InvalidError for workers and `local`."""
    person = queries.by_id(session, Person, person_id)
    if person.password_hash is None:
        raise InvalidError(
            "this account has no password", where=person.name, hint="invite the person instead"
        )
    return person
