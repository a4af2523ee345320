"""Secrets that machines keep: 256 random bits, of which the database has only the digest."""

from __future__ import annotations

import hashlib
import secrets


def fresh() -> str:
    """A new one, 43 characters that may stand in a URL, a header and a cookie."""
    return secrets.token_urlsafe(32)


def fresh_id() -> str:
    """A name that is nobody else's, no secret."""
    return secrets.token_hex(8)


def digest(secret: str) -> str:
    """What is kept. 256 random bits need no slow hash: there is nothing to guess."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
