"""Tokens of sessions: JWT, HS256, with the claims that the fork's servers and clients know."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import jwt

from . import ISSUER, secret
from .people import Account
from .sessions import Session


def claims(account: Account, session: Session, now: float, seconds: float) -> dict[str, Any]:
    """Good for so many `seconds`, at most as long as the session. `session.token` is a name, and opens nothing."""
    return {
        "session": {**session_claims(session), "token": secret.fresh_id()},
        "user": user_claims(account),
        "iss": ISSUER,
        "iat": int(now),
        "exp": int(min(now + seconds, session.expires_at)),
    }


def signed(key: str, account: Account, session: Session, now: float, seconds: float) -> str:
    """The token."""
    return jwt.encode(claims(account, session, now, seconds), key, algorithm="HS256")


def session_claims(session: Session) -> dict[str, Any]:
    """As answers and tokens show a session."""
    return {
        "id": session.id,
        "userId": session.account_id,
        "createdAt": iso(session.created_at),
        "updatedAt": iso(session.updated_at),
        "expiresAt": iso(session.expires_at),
        "ipAddress": session.ip_address,
        "userAgent": session.user_agent,
    }


def user_claims(account: Account) -> dict[str, Any]:
    """As answers and tokens show an account."""
    return {
        "id": account.id,
        "name": account.name,
        "email": account.email,
        "emailVerified": account.email_verified,
        "image": account.image,
        "createdAt": iso(account.created_at),
        "updatedAt": iso(account.updated_at),
        "status": str(account.status),
        "role": account.role,
    }


def iso(moment: float) -> str:
    """RFC 3339 in UTC, with milliseconds and Z, as JavaScript writes it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
