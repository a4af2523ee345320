"""The gate: who comes in, how many at a time, and how fast they may talk."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from vivavoce.core import Fault, Refused, StreamError, seconds
from vivavoce.settings import ServeSettings

from .credentials import Credentials
from .limits import Bucket, Seats, seat_of
from .origin import origin_allowed
from .tokens import Tokens

if TYPE_CHECKING:
    from vivavoce.accounts.meter import Meter, Tab

SMALL_MESSAGE = 512  # bytes; larger ones carry audio, which the stream's queue paces
_RETRY_AFTER = 5.0  # seconds, when a place may be free again


class Gate:
    """Admits connections under the server's settings; every refusal is counted by its reason."""

    def __init__(
        self,
        settings: ServeSettings,
        refused: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        accounts: Meter | None = None,
        seats: Callable[[str, int], Seats] | None = None,
    ) -> None:
        """`seats` are of a kind ("key", "address") and have a limit; other processes may count in them too."""
        self.credentials = _credentials(settings, wall_clock)
        self._settings, self._refused, self._clock = settings, refused, clock
        self._accounts = accounts
        self._local_only = settings.loopback and not settings.protected
        make = seats or (lambda _, limit: Seats(limit))
        self._keys = make("key", settings.connections_per_key)
        self._addresses = make("address", settings.connections_per_address)

    async def admit(self, connection: HTTPConnection, scope: str | None, stream: bool = True) -> Admitted:
        """For what `scope` says ("stt", "tts", or None for any), a `stream` or something small besides.

        Raises Refused: FORBIDDEN for a foreign page, UNAUTHENTICATED, FORBIDDEN, RATE_LIMITED, QUOTA_EXCEEDED.
        """
        try:
            return await self._admit(connection, scope, stream)
        except Refused as error:
            self._refused(error.code)
            raise

    async def _admit(self, connection: HTTPConnection, scope: str | None, stream: bool) -> Admitted:
        if not origin_allowed(connection, self._settings.origins, self._local_only):
            origin = connection.headers["origin"]
            detail = f"pages from {origin} may not use this server"
            raise Refused(Fault.FORBIDDEN, "origin_not_allowed", detail, "add the page's origin to the setting origins")
        entrant, tab = self.credentials.who(connection), None
        who = entrant.name
        if not who:
            assert self._accounts, "only accounts give such keys and tokens"
            if stream:
                tab = await self._accounts.open(scope, entrant.key, entrant.session)
            who = tab.name if tab else await self._accounts.name(scope, entrant.key, entrant.session)
        address = connection.client.host if connection.client else "unknown"  # trusted proxies are seen through already
        seats = [(self._addresses, seat_of(address))]
        if self._settings.protected:
            seats.append((self._keys, who))
        try:
            await self._reserve(seats)
        except BaseException:
            if tab:
                tab.end()
            raise
        return Admitted(who, address, seats, self._bucket(), self._settings.message_bytes, self._refused, tab)

    async def admit_keyless(self, address: str) -> Admitted:
        """For a protocol that has no keys. Raises Refused(RATE_LIMITED) when the address has its connections."""
        seats = [(self._addresses, seat_of(address))]
        try:
            await self._reserve(seats)
        except Refused as error:
            self._refused(error.code)
            raise
        return Admitted("anyone", address, seats, self._bucket(), self._settings.message_bytes, self._refused)

    async def _reserve(self, seats: list[tuple[Seats, str]]) -> None:
        reserved = list[tuple[Seats, str]]()
        try:
            for kind, name in seats:
                if not await kind.reserve(name):
                    raise _too_many(kind, "key" if kind is self._keys else "address")
                reserved.append((kind, name))
        except BaseException:
            for kind, name in reserved:
                kind.cancel(name)
            raise

    def _bucket(self) -> Bucket | None:
        rate = self._settings.messages_per_second
        return Bucket(rate, 10 * rate, self._clock) if rate else None


class Admitted:
    """One connection that has come in: `with await gate.admit(connection) as admitted:` counts it while it lasts."""

    def __init__(
        self,
        who: str,
        address: str,
        seats: list[tuple[Seats, str]],
        bucket: Bucket | None,
        message_bytes: int,
        refused: Callable[[str], object],
        tab: Tab | None = None,
    ) -> None:
        self.who = who  # "key 2", "user ab12", "anyone"; never a secret
        self._tab = tab
        self.address = address
        self._seats, self._bucket, self._message_bytes, self._refused = seats, bucket, message_bytes, refused

    def __enter__(self) -> Admitted:
        for seats, name in self._seats:
            seats.take(name)
        if self._tab:
            self._tab.begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for seats, name in self._seats:
            seats.leave(name)
        if self._tab:
            self._tab.end()

    @property
    def pays(self) -> bool:
        """Whether audio has to be paid for, which may take a while."""
        return self._tab is not None

    async def pay(self, samples: int) -> None:
        """For audio that is going to be heard or spoken. Raises Refused when the account's quota has not so much left,
        or when the key is void by now."""
        if self._tab:
            try:
                await self._tab.pay(seconds(samples))
            except Refused as error:
                self._refused(error.code)
                raise

    def message(self, size: int, counted: bool = True) -> None:
        """For every message of `size` bytes; not `counted` ones are paced by a queue.

        Raises StreamError: TOO_LARGE, RATE_LIMITED.
        """
        if size > self._message_bytes:
            self._refused("too_large")
            raise StreamError(Fault.TOO_LARGE, f"a message of {size} bytes; the limit is {self._message_bytes}")
        if counted and size < SMALL_MESSAGE and self._bucket and not self._bucket.take():
            self._refused("rate_limited")
            detail = f"more than {self._bucket.rate:g} small messages a second"
            raise StreamError(Fault.RATE_LIMITED, detail, _RETRY_AFTER)


def _credentials(settings: ServeSettings, clock: Callable[[], float]) -> Credentials:
    modal = None
    if settings.modal_headers and settings.modal_key and settings.modal_secret:
        modal = (settings.modal_key.get_secret_value(), settings.modal_secret.get_secret_value())
    return Credentials(
        keys=tuple(key.get_secret_value() for key in settings.api_keys),
        tokens=_tokens(settings, clock),
        accounts=settings.accounts is not None,
        modal=modal,
        required=settings.protected,
    )


def _tokens(settings: ServeSettings, clock: Callable[[], float]) -> Tokens | None:
    if settings.jwt_secret is None:
        return None
    old = [secret.get_secret_value() for secret in settings.jwt_old_secrets]
    return Tokens(settings.jwt_secret.get_secret_value(), clock, old)


def _too_many(seats: Seats, of: str) -> Refused:
    detail = f"{seats.limit} connections are open from this {of}; that is the limit"
    hint = f"close one, or raise connections_per_{of}"
    return Refused(Fault.RATE_LIMITED, f"connections_per_{of}", detail, hint, _RETRY_AFTER)
