"""Accounts as an admin manages them: invitations, roles, tokens for scripts."""

import secrets
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, aliased

from annotator.accounts import sessions
from db.schema import Invitation, Person, Role, Token, Vote
from db.store.clock import now
from regions.errors import ConflictError, InvalidError, NotFoundError

_DAY_MS = 24 * 3_600_000
INVITATION_DAYS = 7
TOKEN_DAYS = 365
TOKEN_PREFIX = "lskd_"  # noqa: S105 - how secrets begin, none itself


def list_accounts(session: Session) -> list[dict[str, Any]]:
    """Everybody who votes or signs in, and how much they voted."""
    votes = (
        select(Vote.person_id, func.count().label("votes"), func.max(Vote.created).label("last"))
        .where(Vote.withdrawn.is_(None))
        .group_by(Vote.person_id)
        .subquery()
    )
    query = (
        select(Person, votes.c.votes, votes.c.last)
        .outerjoin(votes, votes.c.person_id == Person.id)
        .order_by(Person.name)
    )
    return [
        {
            "id": person.id,
            "name": person.name,
            "role": person.role,
            "active": person.active,
            "signs_in": person.password_hash is not None,
            "simulated": person.simulated,
            "votes": count or 0,
            "last_vote": last,
        }
        for person, count, last in session.execute(query)
    ]


def update_account(session: Session, person_id: int, *, role: Role, active: bool) -> None:
    """Give an account a role, or close it: it is signed out, and its votes stay.

    UserError where nobody could manage accounts any more.
    """
    sessions.check_role(role)
    person = session.get(Person, person_id)
    if person is None or person.simulated:
        raise NotFoundError("no such account", where=str(person_id))
    others = select(func.count()).where(
        Person.role == "admin",
        Person.active,
        Person.password_hash.is_not(None),
        Person.id != person_id,
    )
    keeps = role == "admin" and active
    if person.role == "admin" and not keeps and not session.scalar(others):
        raise ConflictError(
            "this is the only admin", where=person.name, hint="make another one first"
        )
    person.role = role
    person.active = active
    if not active:
        sessions.sign_out_everywhere(session, person_id)


def create_invitation(session: Session, role: Role, by: int, note: str = "") -> str:
    """The secret of a link by which one person makes an account of this role."""
    sessions.check_role(role)
    secret = secrets.token_urlsafe(24)
    session.add(
        Invitation(
            token_digest=sessions.digest(secret),
            role=role,
            note=note.strip()[:400],
            made_by=by,
            created=now(),
            expires=now() + INVITATION_DAYS * _DAY_MS,
        )
    )
    return secret


def get_invitation(session: Session, secret: str) -> Invitation:
    """An invitation that can still be used; UserError for any other."""
    found = session.scalar(
        select(Invitation).where(Invitation.token_digest == sessions.digest(secret))
    )
    if found is None or found.used_by is not None or found.expires < now():
        raise NotFoundError(
            "this invitation was used, has run out, or never was", hint="ask for a new one"
        )
    return found


def accept_invitation(session: Session, secret: str, name: str, password: str) -> str:
    """Make the account that an invitation stands for; its first cookie."""
    found = get_invitation(session, secret)
    person = sessions.add_person(session, name, found.role, password)
    found.used_by = person.id
    return sessions.create_login(session, person.id)


def list_invitations(session: Session) -> list[dict[str, Any]]:
    """Every invitation, the newest first."""
    maker, user = aliased(Person), aliased(Person)
    query = (
        select(Invitation, maker.name, user.name)
        .join(maker, maker.id == Invitation.made_by)
        .outerjoin(user, user.id == Invitation.used_by)
        .order_by(Invitation.id.desc())
    )
    return [
        {
            "id": found.id,
            "role": found.role,
            "note": found.note,
            "by": by,
            "used_by": used_by,
            "expires": found.expires,
        }
        for found, by, used_by in session.execute(query)
    ]


def create_token(session: Session, person_id: int, name: str) -> str:
    """A secret that a script shows instead of a cookie. It is told once, and kept as a digest."""
    if not name.strip():
        raise InvalidError("a token needs a name", hint="say what it is for")
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    session.add(
        Token(
            token_digest=sessions.digest(secret),
            person_id=person_id,
            name=name.strip()[:400],
            created=now(),
            expires=now() + TOKEN_DAYS * _DAY_MS,
        )
    )
    return secret


def list_tokens(session: Session, person_id: int) -> list[dict[str, Any]]:
    """A person's tokens, without their secrets."""
    mine = select(Token).where(Token.person_id == person_id).order_by(Token.id)
    fields = ("id", "name", "created", "expires")
    return [{f: getattr(token, f) for f in fields} for token in session.scalars(mine)]


def revoke_token(session: Session, person_id: int, token_id: int) -> None:
    """Make a token of one's own worthless."""
    done = session.execute(delete(Token).where(Token.id == token_id, Token.person_id == person_id))
    if not done.rowcount:  # type: ignore[attr-defined]
        raise NotFoundError("no such token", where=str(token_id))
