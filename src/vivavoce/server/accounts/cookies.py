"""The cookies of a browser that has signed in: the session's secret, and the token that opens streams.

Neither can be read by scripts; neither is sent along with what another site asks for, but for following a link.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

SESSION, TOKEN = "better-auth.session_token", "better-auth.session_data"
_SECURE = "__Secure-"


def session_secret(request: Request) -> str | None:
    """What the browser was given when its user signed in."""
    return request.cookies.get(_name(request, SESSION)) or None


def keep(
    request: Request, response: Response, token: tuple[str, float], session: tuple[str, float | None] | None
) -> None:
    """Sets the token, and the session's secret if it is new; each with the seconds that it lasts (None: the window)."""
    if session is not None:
        _set(request, response, SESSION, session[0], session[1])
    _set(request, response, TOKEN, *token)


def forget(request: Request, response: Response) -> None:
    """Deletes them."""
    for name in (SESSION, TOKEN):
        _set(request, response, name, "", 0)


def _set(request: Request, response: Response, name: str, value: str, seconds: float | None) -> None:
    response.set_cookie(
        _name(request, name),
        value,
        max_age=None if seconds is None else int(seconds),
        path="/",
        secure=_secure(request),
        httponly=True,
        samesite="lax",
    )


def _secure(request: Request) -> bool:
    return request.url.scheme == "https"


def _name(request: Request, name: str) -> str:
    return f"{_SECURE}{name}" if _secure(request) else name
