"""Accounts and sign-in: passwords are kept as argon2 hashes, cookies as digests.

While no account has a password, and the app listens on this machine alone, whoever opens it is the
person `local`, who may do everything.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, get_args

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from db.clock import now
from db.schema import Login, Person, Role
from db.session import Store
from regions.errors import UserError

LOCAL = "local"
HOURS = 12
_LEAST_CHARACTERS = 8
_hasher = PasswordHasher()
# Verified when the name is unknown, so that an answer takes as long as for a known one.
_NOBODY = _hasher.hash(secrets.token_hex())


_SIGNED_IN = text("""
    SELECT people.id, people.name, people.role FROM logins JOIN people ON people.id = person_id
    WHERE token_digest = :digest AND expires > :now
""")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is asking."""

    id: int
    name: str
    role: Role


def add_person(session: Session, name: str, role: Role, password: str) -> Person:
    """A new account; UserError for a name in use, a role nobody has, or a short password."""
    if role not in get_args(Role):
        raise UserError(f"no role {role!r}", todo=f"use one of {', '.join(get_args(Role))}")
    if not name.strip() or name == LOCAL:
        raise UserError(f"{name!r} cannot be an account's name", todo="choose another")
    if session.scalar(select(Person.id).where(Person.name == name)) is not None:
        raise UserError(f"an account named {name!r} is there already", todo="choose another")
    if len(password) < _LEAST_CHARACTERS:
        raise UserError("the password is too short", todo=f"use {_LEAST_CHARACTERS} characters")
    person = Person(name=name, role=role, password_hash=_hasher.hash(password), created=now())
    session.add(person)
    session.flush()
    return person


def people(session: Session) -> list[dict[str, Any]]:
    """Everybody who votes or signs in."""
    return [
        {
            "name": person.name,
            "role": person.role,
            "signs in": "yes" if person.password_hash else "no",
            "simulated": "yes" if person.simulated else "no",
        }
        for person in session.scalars(select(Person).order_by(Person.name))
    ]


def has_accounts(session: Session) -> bool:
    """Whether anybody can sign in, and so everybody must."""
    query = select(Person.id).where(Person.password_hash.is_not(None)).limit(1)
    return session.scalar(query) is not None


def local_person(store: Store) -> Visitor:
    """The person that everybody is while there are no accounts; made if need be."""
    with store.write() as session:
        person = session.scalar(select(Person).where(Person.name == LOCAL))
        if person is None:
            person = Person(name=LOCAL, role="admin", created=now())
            session.add(person)
            session.flush()
        return Visitor(person.id, person.name, person.role)


def sign_in(store: Store, name: str, password: str) -> str | None:
    """A new cookie for whoever knows the password, else None."""
    with store.read() as session:
        person = session.scalar(select(Person).where(Person.name == name))
        known = person.password_hash if person is not None else None
    try:
        _hasher.verify(known or _NOBODY, password)
    except VerificationError:
        return None
    if person is None or known is None:
        return None
    token = secrets.token_urlsafe(32)
    expires = now() + HOURS * 3_600_000
    with store.write() as session:
        session.execute(delete(Login).where(Login.expires < now()))
        session.add(Login(token_digest=_digest(token), person_id=person.id, expires=expires))
    return token


def sign_out(store: Store, token: str) -> None:
    """Make a cookie worthless."""
    with store.write() as session:
        session.execute(delete(Login).where(Login.token_digest == _digest(token)))


def signed_in(session: Session, token: str) -> Visitor | None:
    """Whose cookie this is, if it is still good. Asked with every request, and so in plain SQL."""
    known = {"digest": _digest(token), "now": now()}
    row = session.connection().execute(_SIGNED_IN, known).first()
    return None if row is None else Visitor(row.id, row.name, row.role)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
