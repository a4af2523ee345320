"""What all routes of accounts share: who asks, from which page, how often, and how an answer looks."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vivavoce.accounts.accounts import Accounts
from vivavoce.accounts.errors import AccountsError, DatabaseError
from vivavoce.accounts.people import Account
from vivavoce.accounts.sessions import Session
from vivavoce.accounts.tokens import signed
from vivavoce.core import Fault, Refused, StreamError
from vivavoce.settings import ServeSettings
from vivavoce.settings.origins import EVERYONE

from ..errors import response as refusal
from ..limits import seat_of
from ..origin import origin_allowed
from ..tokens import Tokens
from . import cookies
from .throttle import Throttle

MOST_BYTES = 65_536  # of a body
_THREADS = 2  # for passwords: each hash takes 64 MiB
_MOST_WAITING = 50  # passwords
T = TypeVar("T")
Wish = TypeVar("Wish", bound=msgspec.Struct)
Endpoint = Callable[..., Awaitable[Response]]


def _share(attempts: int, workers: int) -> int:
    """A worker's; 0 is any number."""
    return max(1, attempts // workers) if attempts else 0


class Desk:
    """The accounts and the settings, and the rules that hold at every route."""

    def __init__(self, accounts: Accounts, settings: ServeSettings) -> None:
        assert settings.jwt_secret, "`demand_accounts` was called"
        self.accounts, self.settings = accounts, settings
        self._key = settings.jwt_secret.get_secret_value()
        self._tokens = Tokens(self._key, accounts.clock, [old.get_secret_value() for old in settings.jwt_old_secrets])
        attempts = _share(settings.accounts_attempts, settings.workers)
        self._of_account, self._of_address = Throttle(attempts, "account"), Throttle(3 * attempts, "address")
        self._threads = ThreadPoolExecutor(_THREADS, "passwords")
        self._waiting = 0

    # --- who asks ---

    async def signed_in(self, request: Request) -> tuple[Session, Account]:
        """By a token in `Authorization`, or else by cookie. Raises AccountsError not_signed_in and Refused."""
        found = await self.find(request)
        if found is None:
            raise AccountsError("not_signed_in", "nobody has signed in", 401, "sign in first")
        return found

    async def find(self, request: Request) -> tuple[Session, Account] | None:
        """As `signed_in`; None if nobody has."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            claimed = self._tokens.read(token.strip())
            return await asyncio.to_thread(self.accounts.sessions.of_token, claimed.session)
        secret = cookies.session_secret(request)
        return await asyncio.to_thread(self.accounts.sessions.find, secret) if secret else None

    async def administrator(self, request: Request) -> Account:
        """Raises AccountsError not_signed_in, not_administrator."""
        _, account = await self.signed_in(request)
        if not account.admin:
            raise AccountsError("not_administrator", "only an administrator may do this", 403)
        return account

    def attempt(self, request: Request, email: str = "") -> None:
        """Counts a password that is tried. Raises Refused(RATE_LIMITED)."""
        self._of_address.take(seat_of(address(request)))
        if email:
            self._of_account.take(email.strip().lower()[:254])

    # --- what is asked ---

    async def wish(self, request: Request, kind: type[Wish]) -> Wish:
        """The body, JSON. Raises AccountsError, which quotes nothing of it."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise AccountsError("not_json", "the body must be JSON, with content-type: application/json", 415)
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > MOST_BYTES:
                raise StreamError(Fault.TOO_LARGE, f"the body has more than {MOST_BYTES} bytes; that is the limit")
        try:
            return msgspec.json.decode(bytes(data), type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            raise AccountsError("invalid_body", f"the body is not what it should be: {error}") from None

    async def with_password(self, call: Callable[..., T], *arguments: Any) -> T:
        """In a thread of those that hash. Raises Refused(OVERLOADED) when too many wait."""
        if self._waiting >= _MOST_WAITING:
            raise Refused(Fault.OVERLOADED, "too_many_attempts", "too many passwords wait to be checked", "", 5.0)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, partial(call, *arguments))
        finally:
            self._waiting -= 1

    # --- answers ---

    def token(self, session: Session, account: Account) -> str:
        """A fresh one."""
        seconds = self.settings.accounts_token_seconds
        return signed(self._key, account, session, self.accounts.clock(), seconds)

    def route(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint behind the rules: pages of this site only where a cookie speaks, no answer kept by anyone."""

        @functools.wraps(endpoint)
        async def guarded(request: Request) -> Response:
            try:
                self._same_site(request)
                answer = await endpoint(request)
            except StreamError as error:
                answer = refusal(error)
            except DatabaseError as error:
                answer = refusal(Refused(Fault.UNAVAILABLE, "accounts_unavailable", str(error), "", 5.0))
            except AccountsError as error:
                told = {"error": error.code, "code": error.code, "message": str(error), "hint": error.hint}
                answer = JSONResponse(told, error.status)
            answer.headers["cache-control"] = "no-store"
            return answer

        return guarded

    def _same_site(self, request: Request) -> None:
        """Against forged requests: what changes something and has cookies must come from a page of ours, and say so."""
        if request.method in ("GET", "HEAD"):
            return
        mine = [origin for origin in self.settings.origins if origin != EVERYONE]
        if not origin_allowed(request, mine, local_only=False):
            raise Refused(Fault.FORBIDDEN, "origin_not_allowed", "this page may not do that", "see the setting origins")
        if request.cookies and "origin" not in request.headers and "authorization" not in request.headers:
            detail = "a request with cookies has to say in Origin which page it comes from"
            raise Refused(Fault.FORBIDDEN, "origin_missing", detail, "send no cookies, or the header Origin")


def address(request: Request) -> str:
    """Of the caller; trusted proxies are seen through already."""
    return request.client.host if request.client else "unknown"


def from_page(request: Request) -> bool:
    """Whether a script of a page asks: what must not be seen by scripts is not for it."""
    return "origin" in request.headers or "sec-fetch-mode" in request.headers
