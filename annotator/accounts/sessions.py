"""Sign-in: passwords are stored as argon2 hashes, cookies and tokens as SHA-256 digests.

While no account has a password and the app listens on the loopback interface only, every request
acts as the person `local`, an admin.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import get_args

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from db.schema import FailedLogin, Login, Person, Role
from db.store import queries
from db.store.clock import now
from db.store.session import Store
from regions.errors import InvalidError, UserError

LOCAL_NAME = "local"
SESSION_HOURS = 12
WORKER_PREFIX = "worker "
"""Prefix of crowd workers' names; workers have no password."""

_MAX_NAME_LENGTH = 200
_MIN_PASSWORD_LENGTH = 8
_hasher = PasswordHasher()
# Verified if the name is unknown, so that the response takes as long as for a known name.
_DUMMY_HASH = _hasher.hash(secrets.token_hex())

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

_FAILURE_WINDOW_MS = 15 * 60_000
_MAX_FAILURES = {"pair": 5, "name": 30, "address": 60}
"""Wrong passwords in the window: for a name from one address, for a name, from an address."""


class TooManyAttemptsError(UserError):
    """Too many wrong passwords for this name or from this address."""


@dataclass(frozen=True, slots=True)
class CurrentUser:
    """The person a request acts as. A crowd worker's `study` has one `batch` and a `quota`."""

    id: int
    name: str
    role: Role
    batch: str | None = None
    quota: int | None = None
    study: int | None = None


def add_person(session: Session, name: str, role: Role, password: str) -> Person:
    """Create an account. ConflictError if the name is taken; InvalidError for bad values."""
    check_role(role)
    name = name.strip()
    if (
        not name
        or name == LOCAL_NAME
        or len(name) > _MAX_NAME_LENGTH
        or name.startswith(WORKER_PREFIX)
    ):
        raise InvalidError(f"{name!r} cannot be an account's name", hint="choose another name")
    queries.check_unused(session, Person, name)
    person = Person(name=name, role=role, password_hash=hash_password(password), created=now())
    session.add(person)
    session.flush()
    return person


def check_role(role: str) -> None:
    """InvalidError unless the role exists."""
    if role not in get_args(Role):
        raise InvalidError(f"no role named {role!r}", hint=f"use {', '.join(get_args(Role))}")


def hash_password(password: str) -> str:
    """The argon2 hash of a password; InvalidError if the password is too short."""
    if len(password) < _MIN_PASSWORD_LENGTH:
        raise InvalidError(
            "the password is too short", hint=f"use at least {_MIN_PASSWORD_LENGTH} characters"
        )
    return _hasher.hash(password)


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


def sign_in(store: Store, name: str, password: str, address: str) -> str | None:
    """A new cookie's token, or None if name and password do not match.

    TooManyAttemptsError after too many wrong passwords.
    """
    name = name.strip()[:_MAX_NAME_LENGTH]
    with store.read() as session:
        _check_rate_limit(session, name, address)
        person = session.scalar(select(Person).where(Person.name == name, Person.active))
        stored_hash = person.password_hash if person is not None else None
    try:
        _hasher.verify(stored_hash or _DUMMY_HASH, password)
        is_correct = stored_hash is not None
    except VerificationError:
        is_correct = False
    with store.write() as session:
        session.execute(delete(FailedLogin).where(FailedLogin.created < now() - _FAILURE_WINDOW_MS))
        if person is None or not is_correct:
            session.add(FailedLogin(name=name, address=address, created=now()))
            return None
        return create_login(session, person.id)


def _check_rate_limit(session: Session, name: str, address: str) -> None:
    is_recent = FailedLogin.created > now() - _FAILURE_WINDOW_MS
    count = select(func.count()).select_from(FailedLogin).where(is_recent)
    by_name, by_address = FailedLogin.name == name, FailedLogin.address == address
    for scope, query in {
        "pair": count.where(by_name, by_address),
        "name": count.where(by_name),
        "address": count.where(by_address),
    }.items():
        if (session.scalar(query) or 0) >= _MAX_FAILURES[scope]:
            minutes = _FAILURE_WINDOW_MS // 60_000
            raise TooManyAttemptsError(
                "too many wrong passwords", hint=f"try again in {minutes} minutes"
            )


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
    """Invalidate every cookie of a person."""
    session.execute(delete(Login).where(Login.person_id == person_id))


def authenticate(session: Session, token: str, *, is_api_token: bool = False) -> CurrentUser | None:
    """The person of a valid cookie or API token, or None. Plain SQL: it runs with most requests."""
    key = {"digest": digest(token), "now": now()}
    query = _BY_API_TOKEN if is_api_token else _BY_COOKIE
    row = session.connection().execute(query, key).first()
    if row is None:
        return None
    return CurrentUser(row.id, row.name, row.role, row.batch, row.quota, row.study)


def digest(token: str) -> str:
    """The SHA-256 digest of a secret, which is what the store holds."""
    return hashlib.sha256(token.encode()).hexdigest()
