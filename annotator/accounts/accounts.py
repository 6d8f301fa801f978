"""Account management: roles, invitations, API tokens."""

import secrets
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, aliased

from annotator.accounts import passwords, sessions
from annotator.accounts.digests import digest
from annotator.accounts.sessions import SignedIn
from db.schema import Invitation, Person, Role, Token, Vote
from db.store import queries
from db.store.clock import now
from db.store.session import Store
from regions.errors import ConflictError, InvalidError, NotFoundError

_DAY_MS = 24 * 3_600_000
INVITATION_DAYS = 7
TOKEN_DAYS = 365
TOKEN_PREFIX = "lskd_"  # noqa: S105 - a prefix, not a secret


@dataclass(frozen=True, slots=True)
class AccountRow:
    """A person with the number of their standing votes and the time of the last one."""

    id: int
    name: str
    role: Role
    active: bool
    signs_in: bool
    """Whether the account has a password."""
    simulated: bool
    votes: int
    last_vote: int | None


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """An invitation, who made it, and who used it."""

    id: int
    role: Role
    note: str
    by: str
    used_by: str | None
    expires: int


@dataclass(frozen=True, slots=True)
class TokenRow:
    """An API token without its secret."""

    id: int
    name: str
    created: int
    expires: int


def list_accounts(session: Session) -> list[AccountRow]:
    """Every person who votes or signs in, by name."""
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
        AccountRow(
            id=person.id,
            name=person.name,
            role=person.role,
            active=person.active,
            signs_in=person.password_hash is not None,
            simulated=person.simulated,
            votes=count or 0,
            last_vote=last,
        )
        for person, count, last in session.execute(query)
    ]


def update_account(session: Session, person_id: int, *, role: Role, active: bool) -> None:
    """Set an account's role and whether it is open; its sessions and tokens follow at once.

    Closing signs it out everywhere and keeps its votes. ConflictError if no admin would be left.
    """
    sessions.check_role(role)
    person = queries.by_id(session, Person, person_id)
    if person.simulated:
        raise NotFoundError("no such account", where=str(person_id))
    # Locked, so that two admins cannot demote each other at the same moment.
    admins = session.scalars(
        select(Person.id)
        .where(Person.role == "admin", Person.active, Person.password_hash.is_not(None))
        .order_by(Person.id)
        .with_for_update()
    ).all()
    stays_admin = role == "admin" and active
    if person.role == "admin" and not stays_admin and not {*admins} - {person_id}:
        raise ConflictError(
            "this is the only admin", where=person.name, hint="make another account an admin first"
        )
    person.role = role
    person.active = active
    if not active:
        sessions.sign_out_everywhere(session, person_id)


def create_invitation(session: Session, role: Role, created_by: int, note: str = "") -> str:
    """Create an invitation to an account of this role; returns the secret of its link."""
    sessions.check_role(role)
    secret = secrets.token_urlsafe(24)
    session.add(
        Invitation(
            token_digest=digest(secret),
            role=role,
            note=note.strip()[:400],
            made_by=created_by,
            created=now(),
            expires=now() + INVITATION_DAYS * _DAY_MS,
        )
    )
    return secret


def get_invitation(session: Session, secret: str, *, for_update: bool = False) -> Invitation:
    """The unused invitation of a secret; NotFoundError if there is none."""
    query = select(Invitation).where(Invitation.token_digest == digest(secret))
    # The second of two requests with one link waits here, and then finds it used.
    invitation = session.scalar(query.with_for_update() if for_update else query)
    if invitation is None or invitation.used_by is not None or invitation.expires < now():
        raise NotFoundError(
            "this invitation has been used, has expired, or does not exist",
            hint="ask for a new one",
        )
    return invitation


def accept_invitation(
    store: Store, secret: str, name: str, password: str, device: str = ""
) -> SignedIn:
    """Create the account of an invitation and sign it in."""
    with store.read() as session:
        get_invitation(session, secret)  # no hash is computed for a stranger
    password_hash = passwords.hash_password(password)
    with store.write() as session:
        invitation = get_invitation(session, secret, for_update=True)
        person = sessions.add_account(session, name, invitation.role, password_hash)
        invitation.used_by = person.id
        return sessions.enter(session, person.id, device)


def list_invitations(session: Session) -> list[InvitationRow]:
    """Every invitation, newest first."""
    creator, user = aliased(Person), aliased(Person)
    query = (
        select(Invitation, creator.name, user.name)
        .join(creator, creator.id == Invitation.made_by)
        .outerjoin(user, user.id == Invitation.used_by)
        .order_by(Invitation.id.desc())
    )
    return [
        InvitationRow(row.id, row.role, row.note, created_by, used_by, row.expires)
        for row, created_by, used_by in session.execute(query)
    ]


def create_token(session: Session, person_id: int, name: str) -> str:
    """Create an API token, which acts as the person. Only its digest is stored."""
    if not name.strip():
        raise InvalidError("a token needs a name", hint="say what it is for")
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    session.add(
        Token(
            token_digest=digest(secret),
            person_id=person_id,
            name=name.strip()[:400],
            created=now(),
            expires=now() + TOKEN_DAYS * _DAY_MS,
        )
    )
    return secret


def list_tokens(session: Session, person_id: int) -> list[TokenRow]:
    """A person's API tokens."""
    query = select(Token).where(Token.person_id == person_id).order_by(Token.id)
    return [
        TokenRow(token.id, token.name, token.created, token.expires)
        for token in session.scalars(query)
    ]


def revoke_token(session: Session, person_id: int, token_id: int) -> None:
    """Delete a person's own API token."""
    result = session.execute(
        delete(Token).where(Token.id == token_id, Token.person_id == person_id)
    )
    if not result.rowcount:  # type: ignore[attr-defined]
        raise NotFoundError("no such token", where=str(token_id))
