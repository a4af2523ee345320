"""Tokens of the account service (HS256, claims `session` and `user`), and where their secret is found."""

from __future__ import annotations

import logging
import os
import uuid
import warnings
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt

from vivavoce.core import VivavoceError

logger = logging.getLogger(__name__)
VARIABLE = "BETTER_AUTH_SECRET"
SHORT = 32  # bytes (RFC 7518, 3.2)
LONGEST = 24 * 366 * 10  # hours; a date beyond the calendar is a mistake


class TokenError(VivavoceError):
    """There is no secret, or a token cannot be read or is not good."""


def secret(given: str | None = None, environment: str | None = None, folder: Path | None = None) -> str | None:
    """The first of: what was given; $BETTER_AUTH_SECRET; `.env.<environment>`; `.env`, both in `folder`.

    `environment` None is $ENV, or "development". An empty value counts as none.
    """
    if found := given or os.environ.get(VARIABLE):
        return found
    name = environment or os.environ.get("ENV") or "development"
    for file in (f".env.{name}", ".env"):
        if found := env_file((folder or Path()) / file).get(VARIABLE):
            return found
    return None


def demand(given: str | None = None, environment: str | None = None) -> str:
    """The secret. Raises TokenError that names the places where it was looked for."""
    found = secret(given, environment)
    if not found:
        name = environment or os.environ.get("ENV") or "development"
        raise TokenError(f"no secret: give --secret, or set {VARIABLE} in the environment, in .env.{name} or in .env")
    return found


def env_file(path: Path) -> dict[str, str]:
    """KEY=VALUE lines (`export` before and quotes around are fine, `#` begins a comment); none if there is no file."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise TokenError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})") from None
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and name.strip() and not name.lstrip().startswith("#"):
            found[name.strip()] = _value(value.strip())
    return found


def _value(text: str) -> str:
    if text[:1] in ("'", '"') and (end := text.find(text[0], 1)) > 0:
        return text[1:end]
    return text.split(" #")[0].strip()


def mint(
    secret: str, hours: float = 1.0, *, user: str | None = None, status: str | None = None, now: datetime | None = None
) -> str:
    """A token that is good for so many hours from `now`. `status` is the account's state of approval, none if None."""
    if not 0 < hours <= LONGEST:
        raise TokenError(f"a token is good for more than 0 and at most {LONGEST} hours, got {hours:g}")
    begins = (now or datetime.now(UTC)).replace(microsecond=0)
    ends = begins + timedelta(seconds=max(1, round(hours * 3600)))
    claims = _claims(begins, ends, user or os.environ.get("MOSHI_USER_ID") or f"user-{uuid.uuid4()}")
    if status is not None:
        claims["user"]["status"] = status
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The HMAC key is")  # said below, in one line
        token = jwt.encode(claims, secret, algorithm="HS256")
    if len(secret.encode()) < SHORT:
        logger.warning("the secret has fewer than %d bytes, which makes tokens easy to forge", SHORT)
    return token


def _claims(begins: datetime, ends: datetime, user: str) -> dict[str, Any]:
    session = os.environ.get("MOSHI_SESSION_ID") or f"session-{uuid.uuid4()}"
    return {
        "session": {
            "id": session,
            "userId": user,
            "createdAt": _iso(begins),
            "updatedAt": _iso(begins),
            "expiresAt": _iso(ends),
            "token": uuid.uuid4().hex,
            "ipAddress": "",
            "userAgent": "vivavoce",
        },
        "user": {"id": user, "name": user, "email": f"{user}@localhost", "emailVerified": False, "image": None},
        "iat": int(begins.timestamp()),
        "exp": int(ends.timestamp()),
    }


def inspect(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims as they stand, whoever signed them. Raises TokenError."""
    try:
        whole = jwt.decode_complete(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        raise TokenError("this is no token: expected three parts of base64, header.claims.signature") from None
    return dict(whole["header"]), dict(whole["payload"])


def lifetime(claims: Mapping[str, Any], now: datetime | None = None) -> float | None:
    """Seconds until the token expires, negative when it has; None if it never does."""
    ends = [float(claims["exp"])] if isinstance(claims.get("exp"), int | float) else []
    session = claims.get("session")
    if isinstance(session, dict) and isinstance(session.get("expiresAt"), str):
        with suppress(ValueError):  # a token without a date that can be read has only `exp`
            ends.append(datetime.fromisoformat(session["expiresAt"]).timestamp())
    return min(ends) - (now or datetime.now(UTC)).timestamp() if ends else None


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
