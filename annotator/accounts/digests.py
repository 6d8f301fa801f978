"""Digests of cookies, links and tokens: a store holds no secret that could be used."""

import hashlib


def digest(token: str) -> str:
    """The SHA-256 digest of a secret, which is what the store holds."""
    return hashlib.sha256(token.encode()).hexdigest()
