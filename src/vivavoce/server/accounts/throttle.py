"""How often a password may be tried."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from vivavoce.core import Fault, Refused

from ..limits import Bucket

MOST_NAMES = 10_000  # that are remembered; the one that was quiet for longest is forgotten first


class Throttle:
    """`per_minute` attempts in the long run, as many at once, under each name; 0: any number."""

    def __init__(self, per_minute: int, of: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._of, self._clock = per_minute, of, clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, name: str) -> None:
        """Another attempt. Raises Refused(RATE_LIMITED)."""
        if not self._per_minute:
            return
        bucket = self._buckets.pop(name, None) or Bucket(self._per_minute / 60, self._per_minute, self._clock)
        self._buckets[name] = bucket
        if len(self._buckets) > MOST_NAMES:
            self._buckets.popitem(last=False)
        if not bucket.take():
            detail = f"more than {self._per_minute} attempts a minute for one {self._of}"
            raise Refused(Fault.RATE_LIMITED, "too_many_attempts", detail, "wait a little", 60 / self._per_minute)
