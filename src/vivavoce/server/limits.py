"""How much one caller may have: messages in a second, connections at a time."""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Callable


class Bucket:
    """A token bucket: `rate` a second in the long run, `burst` at once."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self._burst, self._clock = rate, burst, clock
        self._tokens, self._filled = burst, clock()

    def take(self) -> bool:
        """Whether one more is within the limit; takes it if so."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self.rate)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Seats:
    """Counts what is open at a time under each name; `limit` 0 means no limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken: Counter[str] = Counter()

    def full(self, name: str) -> bool:
        return bool(self.limit) and self._taken[name] >= self.limit

    async def reserve(self, name: str) -> bool:
        """Whether there is a seat, which is then to be taken at once."""
        return not self.full(name)

    def take(self, name: str) -> None:
        self._taken[name] += 1

    def cancel(self, name: str) -> None:
        """What was reserved is not taken."""

    def leave(self, name: str) -> None:
        self._taken[name] -= 1
        if not self._taken[name]:
            del self._taken[name]  # nobody's name is kept once they have left


def seat_of(address: str) -> str:
    """Under which name an address is counted: an IPv6 host has a whole /64 to itself."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return address
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
