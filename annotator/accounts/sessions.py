"""Sign-in and sessions: cookies and tokens are stored as SHA-256 digests.

While no account has a password and the app listens on the loopback interface only, every request
acts as the person `local`, an admin.
"""

import secrets
from dataclasses import dataclass
from typing import get_args

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from annotator.accounts import passwords, throttle
from annotator.accounts.digests import digest
from db.schema import KnownDevice, Login, PasswordReset, Person, Role, Token
from db.store import queries
from db.store.clock import now
from db.store.session import Store
from regions.errors import InvalidError

LOCAL_NAME = "local"
SESSION_HOURS = 12
WORKER_PREFIX = "worker "
"""Prefix of crowd workers' names; workers have no password."""

_MAX_NAME_LENGTH = 200

_BY_COOKIE = text("""
    SELECT people.id, people.name, people.role, studies.id AS study, studies.quota,
           batches.name AS batch
    FROM logins JOIN people ON people.id = logins.person_id
    LEFT JOIN studies ON studies.id = logins.study_id
    LEFT JOIN batches ON batches.id = studies.batch_id
    WHERE token_digest = :digest AND expires > :now AND people.active
""")
_BY_API_TOKEN = text("""
    SELECT people.id, people.name, people.role, NULL AS study, NULL AS quota,
           NULL AS batch
    FROM tokens JOIN people ON people.id = tokens.person_id
    WHERE token_digest = :digest AND expires > :now AND people.active
""")


@dataclass(frozen=True, slots=True)
class CurrentUser:
    """The person a request acts as. A crowd worker's `study` has one `batch` and a `quota`."""

    id: int
    name: str
    role: Role
    batch: str | None = None
    quota: int | None = None
    study: int | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The cookies of a new session: its own, and that of the browser as a known device."""

    token: str
    device: str


def add_person(session: Session, name: str, role: Role, password: str) -> Person:
    """Create an account. ConflictError if the name is taken; InvalidError for bad values."""
    return add_account(session, name, role, passwords.hash_password(password))


def add_account(session: Session, name: str, role: Role, password_hash: str) -> Person:
    """Create an account whose password is hashed already, outside of the transaction."""
    check_role(role)
    name = name.strip()
    if (
        not name
        or name == LOCAL_NAME
        or len(name) > _MAX_NAME_LENGTH
        or not name.isprintable()
        or name.startswith(WORKER_PREFIX)
    ):
        raise InvalidError(f"{name!r} cannot be an account's name", hint="choose another name")
    queries.check_unused(session, Person, name)
    person = Person(name=name, role=role, password_hash=password_hash, created=now())
    session.add(person)
    session.flush()
    return person


def check_role(role: str) -> None:
    """InvalidError unless the role exists."""
    if role not in get_args(Role):
        raise InvalidError(f"no role named {role!r}", hint=f"use {', '.join(get_args(Role))}")


def account_by_name(session: Session, name: str) -> Person:
    """The account of this name; NotFoundError if it does not exist."""
    return queries.by_name(session, Person, name, ~Person.simulated)


def has_accounts(session: Session) -> bool:
    """Whether any account has a password, so that everyone must sign in."""
    query = select(Person.id).where(Person.password_hash.is_not(None)).limit(1)
    return session.scalar(query) is not None


def local_user(store: Store) -> CurrentUser:
    """The person `local`, created if necessary."""
    with store.write() as session:
        person = session.scalar(select(Person).where(Person.name == LOCAL_NAME))
        if person is None:
            person = Person(name=LOCAL_NAME, role="admin", created=now())
            session.add(person)
            session.flush()
        return CurrentUser(person.id, person.name, person.role)


def sign_in(
    store: Store, name: str, password: str, address: str, device: str = ""
) -> SignedIn | None:
    """A new session, or None if name and password do not match; `device` is the browser's cookie.

    TooManyAttemptsError after too many wrong passwords.
    """
    name = name.strip()[:_MAX_NAME_LENGTH]
    attempt = throttle.count_attempt(store, name, address, device)
    with store.read() as session:
        person = session.scalar(select(Person).where(Person.name == name, Person.active))
    stored_hash = person.password_hash if person is not None else None
    if not passwords.is_correct(password, stored_hash) or person is None:
        return None
    with store.write() as session:
        # Asked again: meanwhile the password may have been changed, or the account closed.
        unchanged = select(Person.id).where(
            Person.id == person.id, Person.active, Person.password_hash == stored_hash
        )
        if session.scalar(unchanged.with_for_update()) is None:
            return None
        throttle.forget_attempt(session, attempt)
        return enter(session, person.id, device)


def enter(session: Session, person_id: int, device: str) -> SignedIn:
    """Start a session of a person who has proved who they are."""
    known = throttle.remember_device(session, person_id, device)
    return SignedIn(create_login(session, person_id), known)


def create_login(session: Session, person_id: int, study_id: int | None = None) -> str:
    """A new cookie's token for a person; a crowd worker's is limited to a study."""
    token = secrets.token_urlsafe(32)
    session.execute(delete(Login).where(Login.expires < now()))
    session.add(
        Login(
            token_digest=digest(token),
            person_id=person_id,
            study_id=study_id,
            expires=now() + SESSION_HOURS * 3_600_000,
        )
    )
    return token


def sign_out(store: Store, token: str) -> None:
    """Invalidate a cookie."""
    with store.write() as session:
        session.execute(delete(Login).where(Login.token_digest == digest(token)))


def sign_out_everywhere(session: Session, person_id: int) -> None:
    """Invalidate every cookie, API token, known device and reset link of a person."""
    for table in (Login, Token, KnownDevice, PasswordReset):
        session.execute(delete(table).where(table.person_id == person_id))


def sign_out_others(session: Session, person_id: int, token: str) -> None:
    """Invalidate every session of a person but that of the cookie `token`."""
    session.execute(
        delete(Login).where(Login.person_id == person_id, Login.token_digest != digest(token))
    )


def authenticate(session: Session, token: str, *, is_api_token: bool = False) -> CurrentUser | None:
    """The person of a valid cookie or API token, or None. Plain SQL: it runs with most requests."""
    key = {"digest": digest(token), "now": now()}
    query = _BY_API_TOKEN if is_api_token else _BY_COOKIE
    row = session.connection().execute(query, key).first()
    if row is None:
        return None
    return CurrentUser(row.id, row.name, row.role, row.batch, row.quota, row.study)
