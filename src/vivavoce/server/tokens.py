"""JSON web tokens of the account service: HS256, nested claims `session` and `user`, states of approval."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt
from jwt.types import Options

from vivavoce.core import Fault, Refused

SESSION_CLAIMS = ("id", "userId", "createdAt", "updatedAt", "expiresAt")
# `exp` is judged here, by this server's clock; `iat` not at all, since the clocks of two machines differ by a second.
_UNCHECKED: Options = {
    "verify_exp": False, "verify_iat": False, "verify_aud": False, "verify_iss": False, "verify_sub": False,
    "verify_jti": False,
}  # fmt: skip
_SIGN_IN = "sign in again to get a fresh token"


@dataclass(frozen=True)
class Claimed:
    """What a good token says."""

    user: str  # "user ab12"
    session: str
    issuer: object  # who made it; None where it does not say


class Tokens:
    """Checks tokens signed with a secret, or one of its predecessors. `exp` and `session.expiresAt` are held to the
    second, without leeway."""

    def __init__(self, secret: str, clock: Callable[[], float] = time.time, old: Sequence[str] = ()) -> None:
        self._secrets, self._clock = (secret, *old), clock

    def user(self, token: str) -> str:
        """ "user ID" of a good token. Raises Refused: UNAUTHENTICATED, or FORBIDDEN for an account not approved."""
        return self.read(token).user

    def read(self, token: str) -> Claimed:
        """What a good token says. Raises Refused as `user`."""
        claims = self._verified(token)
        session, user = _part(claims, "session", SESSION_CLAIMS), _part(claims, "user", ("id",))
        if not _later(session["expiresAt"], self._clock()):
            raise _expired()
        _approved(user.get("status"))
        return Claimed(f"user {user['id']}", session["id"], claims.get("iss"))

    def _verified(self, token: str) -> Mapping[str, Any]:
        claims = self._decoded(token)
        if "exp" in claims and not _after(claims["exp"], self._clock()):
            raise _expired()
        return claims

    def _decoded(self, token: str) -> Mapping[str, Any]:
        wrong: Exception = jwt.InvalidTokenError()
        for secret in self._secrets:
            try:
                return jwt.decode(token, secret, algorithms=["HS256"], options=_UNCHECKED)
            except jwt.InvalidTokenError as error:
                wrong = error
            if not isinstance(wrong, jwt.InvalidSignatureError):
                break
        raise _invalid(_WHY.get(type(wrong), "it cannot be read"))


_WHY: dict[type[Exception], str] = {
    jwt.InvalidSignatureError: "its signature is wrong",
    jwt.InvalidAlgorithmError: "it is not signed with HS256",
    jwt.ImmatureSignatureError: "it is not valid yet",
}


def _part(claims: Mapping[str, Any], name: str, required: tuple[str, ...]) -> Mapping[str, Any]:
    part = claims.get(name)
    if not isinstance(part, dict):
        raise _invalid(f"the claim {name} is missing")
    missing = [key for key in required if not isinstance(part.get(key), str)]
    if missing:
        raise _invalid(f"the claim {name}.{missing[0]} is missing")
    return part


def _after(moment: object, now: float) -> bool:
    return isinstance(moment, int | float) and not isinstance(moment, bool) and moment > now


def _later(moment: str, now: float) -> bool:
    """Whether a moment of RFC 3339 lies after `now`; one that cannot be read, or has no zone, has passed."""
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return False
    return parsed.tzinfo is not None and parsed.timestamp() > now


def _approved(status: object) -> None:
    if status in (None, "approved"):
        return
    if status == "pending":
        detail, hint = "the account waits for approval", "ask the administrator of this server"
        raise Refused(Fault.FORBIDDEN, "pending_approval", detail, hint)
    raise Refused(Fault.FORBIDDEN, "account_rejected", "the account may not use this server")


def _invalid(why: str) -> Refused:
    return Refused(Fault.UNAUTHENTICATED, "jwt_validation_failed", f"the token is not valid: {why}", _SIGN_IN)


def _expired() -> Refused:
    return Refused(Fault.UNAUTHENTICATED, "expired_token", "the token has expired", _SIGN_IN)
