"""The meter: a server's side of the ledger. Every stream of an account has a tab, from which its audio is paid."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from vivavoce.core import Fault, Refused

from . import secret
from .errors import DatabaseError
from .ledger import SETTLE_SECONDS, TRUST_SECONDS, Bill, Holder, Ledger

logger = logging.getLogger(__name__)
_THREADS = 4
_TIDY = 0.05  # seconds that a settlement waits for others to join it
T = TypeVar("T")


class Tab:
    """What one stream may hear or say, and has; seconds of audio."""

    def __init__(self, meter: Meter, holder: Holder, id: str, now: float) -> None:
        self.id, self.holder = id, holder
        self._meter = meter
        self.allowance = 0.0 if holder.has_quota else math.inf
        self.trusted_until = now + TRUST_SECONDS if holder.has_quota else math.inf
        self.unsettled = 0.0
        self.ended: Refused | None = None  # why it may not go on

    @property
    def name(self) -> str:
        """For the log: no secret."""
        return self.holder.name

    async def pay(self, seconds: float) -> None:
        """For audio that is going to be heard or spoken. Raises Refused: quota_exceeded, or why the key is void."""
        if self.ended:
            raise self.ended
        if self.allowance < seconds or self._meter.now() > self.trusted_until:
            await self._meter.grant(self, seconds)
        self.allowance -= seconds
        self.unsettled += seconds

    def bill(self, trusted: bool = True) -> Bill:
        """What the ledger is to know; an allowance that is not `trusted` any more is given up."""
        return Bill(self.id, self.holder, self.unsettled, self.allowance if self.holder.has_quota and trusted else 0.0)

    def begin(self) -> None:
        """The stream begins; until then the ledger forgets it when it grows old."""
        self._meter.enter(self)

    def end(self) -> None:
        """The stream has ended, or does not begin."""
        self._meter.leave(self)


class Meter:
    """All tabs of this process; `run` keeps the ledger up to date while the server lives.

    The ledger's calls run in threads of its own. While the database does not answer, newcomers are refused
    (UNAVAILABLE), streams without a quota go on, and what they use is written down later.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float], settle_seconds: float = SETTLE_SECONDS) -> None:
        self._ledger, self.now, self._every = ledger, clock, settle_seconds
        self._tabs: dict[str, Tab] = {}
        self._closed: dict[str, Tab] = {}  # until the ledger knows
        self._ledger_lock = asyncio.Lock()  # a bill is written down before the next one is made
        self._hurry, self._stopped = asyncio.Event(), False
        self._under_way: set[asyncio.Task[Any]] = set()
        self._threads = ThreadPoolExecutor(_THREADS, "accounts")

    async def open(self, scope: str | None, key: str | None, session: str | None) -> Tab:
        """A tab of whose key it is, or else session. Raises Refused as `Ledger.open`."""
        opening = self._begin(self._open(scope, key, session))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:  # the caller has gone meanwhile
            opening.add_done_callback(_abandon)
            raise

    async def _open(self, scope: str | None, key: str | None, session: str | None) -> Tab:
        if self._closed:
            await self.settle()  # a place that has become free is free
        stream = secret.fresh_id()
        holder = await self._call(self._ledger.open, stream, scope, key, session)
        return Tab(self, holder, stream, self.now())

    async def name(self, scope: str | None, key: str | None, session: str | None) -> str:
        """Whose it is, without a stream. Raises Refused as `Ledger.who`."""
        return (await self._call(self._ledger.who, scope, key, session)).name

    def enter(self, tab: Tab) -> None:
        """Its stream begins."""
        self._closed.pop(tab.id, None)  # a request that is answered in two parts begins twice
        self._tabs[tab.id] = tab

    def leave(self, tab: Tab) -> None:
        """Its stream has ended; it is written down soon."""
        self._tabs.pop(tab.id, None)
        self._closed[tab.id] = tab
        self._hurry.set()

    async def grant(self, tab: Tab, seconds: float) -> None:
        """More allowance, so that there are `seconds` at least. Raises Refused."""
        await asyncio.shield(self._begin(self._grant(tab, seconds)))
        if tab.allowance < seconds:
            raise self._ledger.exceeded(tab.holder)

    async def _grant(self, tab: Tab, seconds: float) -> None:
        async with self._ledger_lock:
            bill = tab.bill(trusted=self.now() <= tab.trusted_until)
            asked = self.now()
            tab.allowance = await self._call(self._ledger.grant, bill, seconds)
            tab.unsettled -= bill.used
            tab.trusted_until = asked + TRUST_SECONDS

    async def settle(self) -> None:
        """Tells the ledger what was used and which streams have ended. Raises Refused(UNAVAILABLE)."""
        await asyncio.shield(self._begin(self._settle()))

    async def _settle(self) -> None:
        async with self._ledger_lock:
            open_tabs, closed = list(self._tabs.values()), list(self._closed.values())
            bills = {tab.id: tab.bill() for tab in (*open_tabs, *closed)}
            asked = self.now()
            verdicts = await self._call(self._ledger.settle, bills.values(), [tab.id for tab in closed])
            for tab in (*open_tabs, *closed):
                tab.unsettled -= bills[tab.id].used
            for tab in closed:
                self._closed.pop(tab.id, None)
            for tab in open_tabs:
                tab.ended = verdicts.known.get(tab.id)
                if tab.holder.has_quota and tab.id in verdicts.lost:
                    tab.allowance = 0.0
                elif tab.holder.has_quota:
                    tab.trusted_until = asked + TRUST_SECONDS

    async def run(self) -> None:
        """Until `stop`; then once more."""
        while not self._stopped:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._hurry.wait()
                await asyncio.sleep(_TIDY)
            self._hurry.clear()
            await self._settle_or_complain()
        await self._settle_or_complain()
        self._threads.shutdown()

    def stop(self) -> None:
        """Ends `run`; all streams have ended before."""
        self._stopped = True
        self._hurry.set()

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Goes on to its end though its caller has gone: what the ledger was told has to be known here too."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # its caller, if there still is one, has it

    async def _settle_or_complain(self) -> None:
        try:
            await self.settle()
        except Refused as error:
            logger.warning("What streams use is not written down yet: %s", error)
        except Exception:  # whatever it is, it will be tried again, and streams go on meanwhile
            logger.exception("What streams use could not be written down")

    async def _call(self, call: Callable[..., T], *arguments: Any) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, partial(call, *arguments))
        except DatabaseError as error:
            raise Refused(Fault.UNAVAILABLE, "accounts_unavailable", str(error), "", 5.0) from None


def _abandon(opening: asyncio.Task[Tab]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().end()
