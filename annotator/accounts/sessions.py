"""Accounts and sign-in: passwords are kept as argon2 hashes, cookies as digests.

While no account has a password, and the app listens on this machine alone, whoever opens it is the
person `local`, who may do everything.
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
from db.store.clock import now
from db.store.session import Store
from regions.errors import ConflictError, InvalidError, NotFoundError, UserError

LOCAL_NAME = "local"
SESSION_HOURS = 12
WORKER_PREFIX = "worker "
"""Begins the names of a crowd's workers, who have no password."""

_MAX_NAME_LENGTH = 200
_MIN_PASSWORD_LENGTH = 8
_hasher = PasswordHasher()
# Verified when the name is unknown, so that an answer takes as long as for a known one.
_DUMMY_HASH = _hasher.hash(secrets.token_hex())


_BY_COOKIE = text("""
    SELECT people.id, people.name, people.role, studies.quota, batches.name AS batch
    FROM logins JOIN people ON people.id = logins.person_id
    LEFT JOIN studies ON studies.id = logins.study_id
    LEFT JOIN batches ON batches.id = studies.batch_id
    WHERE token_digest = :digest AND expires > :now AND people.active
""")
_BY_TOKEN = text("""
    SELECT people.id, people.name, people.role, NULL AS quota, NULL AS batch
    FROM tokens JOIN people ON people.id = tokens.person_id
    WHERE token_digest = :digest AND expires > :now AND people.active
""")

_FAILURE_WINDOW_MS = 15 * 60_000
_MAX_FAILURES = {"pair": 5, "name": 30, "address": 60}
"""Wrong passwords in a while: for a name from one address, for a name, from an address."""


class TooManyAttemptsError(UserError):
    """Too many wrong passwords: nobody is let in by this name, or from there, for a while."""


@dataclass(frozen=True, slots=True)
class CurrentUser:
    """Who is asking. A crowd's worker may label one batch, up to a quota, and nothing else."""

    id: int
    name: str
    role: Role
    batch: str | None = None
    quota: int | None = None


def add_person(session: Session, name: str, role: Role, password: str) -> Person:
    """A new account; UserError for a name in use, a role nobody has, or a short password."""
    check_role(role)
    name = name.strip()
    if (
        not name
        or name == LOCAL_NAME
        or len(name) > _MAX_NAME_LENGTH
        or name.startswith(WORKER_PREFIX)
    ):
        raise InvalidError(f"{name!r} cannot be an account's name", hint="choose another")
    if session.scalar(select(Person.id).where(Person.name == name)) is not None:
        raise ConflictError(f"an account named {name!r} is there already", hint="choose another")
    person = Person(name=name, role=role, password_hash=hash_password(password), created=now())
    session.add(person)
    session.flush()
    return person


def check_role(role: str) -> None:
    """UserError for a role that nobody can have."""
    if role not in get_args(Role):
        raise InvalidError(f"no role {role!r}", hint=f"use one of {', '.join(get_args(Role))}")


def hash_password(password: str) -> str:
    """What is kept of a password; UserError if it is too short."""
    if len(password) < _MIN_PASSWORD_LENGTH:
        raise InvalidError(
            "the password is too short", hint=f"use {_MIN_PASSWORD_LENGTH} characters"
        )
    return _hasher.hash(password)


def account_by_name(session: Session, name: str) -> Person:
    """The account of this name; UserError where there is none."""
    person = session.scalar(select(Person).where(Person.name == name, ~Person.simulated))
    if person is None:
        raise NotFoundError(f"no account named {name!r}", hint="see `lskd users list`")
    return person


def has_accounts(session: Session) -> bool:
    """Whether anybody can sign in, and so everybody must."""
    query = select(Person.id).where(Person.password_hash.is_not(None)).limit(1)
    return session.scalar(query) is not None


def local_user(store: Store) -> CurrentUser:
    """The person that everybody is while there are no accounts; made if need be."""
    with store.write() as session:
        person = session.scalar(select(Person).where(Person.name == LOCAL_NAME))
        if person is None:
            person = Person(name=LOCAL_NAME, role="admin", created=now())
            session.add(person)
            session.flush()
        return CurrentUser(person.id, person.name, person.role)


def sign_in(store: Store, name: str, password: str, address: str) -> str | None:
    """A new cookie, or None if the password is wrong; TooManyAttemptsError after several."""
    name = name.strip()[:_MAX_NAME_LENGTH]
    with store.read() as session:
        _check_rate_limit(session, name, address)
        person = session.scalar(select(Person).where(Person.name == name, Person.active))
        known = person.password_hash if person is not None else None
    try:
        _hasher.verify(known or _DUMMY_HASH, password)
        right = known is not None
    except VerificationError:
        right = False
    with store.write() as session:
        session.execute(delete(FailedLogin).where(FailedLogin.created < now() - _FAILURE_WINDOW_MS))
        if person is None or not right:
            session.add(FailedLogin(name=name, address=address, created=now()))
            return None
        return create_login(session, person.id)


def _check_rate_limit(session: Session, name: str, address: str) -> None:
    lately = FailedLogin.created > now() - _FAILURE_WINDOW_MS
    count = select(func.count()).select_from(FailedLogin).where(lately)
    by_name, by_address = FailedLogin.name == name, FailedLogin.address == address
    for what, query in {
        "pair": count.where(by_name, by_address),
        "name": count.where(by_name),
        "address": count.where(by_address),
    }.items():
        if (session.scalar(query) or 0) >= _MAX_FAILURES[what]:
            minutes = _FAILURE_WINDOW_MS // 60_000
            raise TooManyAttemptsError(
                f"too many wrong passwords: wait {minutes} minutes, then try again"
            )


def create_login(session: Session, person_id: int, study_id: int | None = None) -> str:
    """A new cookie for a person; a worker's is good for one study."""
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
    """Make a cookie worthless."""
    with store.write() as session:
        session.execute(delete(Login).where(Login.token_digest == digest(token)))


def sign_out_everywhere(session: Session, person_id: int) -> None:
    """Make every cookie of a person worthless."""
    session.execute(delete(Login).where(Login.person_id == person_id))


def authenticate(session: Session, token: str, *, is_api_token: bool = False) -> CurrentUser | None:
    """Whose cookie, or whose script's token, this is, if it is still good.

    Asked with every request, and so in plain SQL.
    """
    known = {"digest": digest(token), "now": now()}
    row = session.connection().execute(_BY_TOKEN if is_api_token else _BY_COOKIE, known).first()
    return None if row is None else CurrentUser(row.id, row.name, row.role, row.batch, row.quota)


def digest(token: str) -> str:
    """What the store keeps of a secret."""
    return hashlib.sha256(token.encode()).hexdigest()
