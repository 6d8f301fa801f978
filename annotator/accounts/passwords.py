"""Passwords are stored as argon2 hashes, which take a core and 64 MiB to compute.

Whoever calls these functions for a stranger has counted the attempt before; see `throttle`.
"""

import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from regions.errors import InvalidError

MIN_LENGTH, MAX_LENGTH = 8, 1000

_hasher = PasswordHasher()
# Verified if the name is unknown, so that the response takes as long as for a known name.
_DUMMY_HASH = _hasher.hash(secrets.token_hex())


def hash_password(password: str) -> str:
    """The argon2 hash of a password; InvalidError as of `check_length`."""
    check_length(password)
    return _hasher.hash(password)


def check_length(password: str) -> None:
    """InvalidError if the password is too short or too long."""
    if len(password) < MIN_LENGTH:
        raise InvalidError(
            "the password is too short", hint=f"use at least {MIN_LENGTH} characters"
        )
    if len(password) > MAX_LENGTH:
        raise InvalidError("the password is too long", hint=f"use at most {MAX_LENGTH} characters")


def is_correct(password: str, stored_hash: str | None) -> bool:
    """Whether a password is that of a hash; None, an unknown account, takes as long and is not."""
    try:
        _hasher.verify(stored_hash or _DUMMY_HASH, password[: MAX_LENGTH + 1])
    except (VerificationError, InvalidHashError):
        return False
    return stored_hash is not None
