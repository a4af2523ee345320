"""A request that can wait for a free slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request

from vivavoce.core import Fault, StreamError
from vivavoce.runtime import AnyRuntime

WAIT_SECONDS = 100.0
_LOOK_SECONDS = 0.1
S = TypeVar("S")


async def when_free(request: Request, runtime: AnyRuntime, open: Callable[[], S]) -> S:
    """The stream that `open` opens. Raises StreamError CAPACITY or OVERLOADED after a wait of 100 s, others at once."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return open()
        except StreamError as error:
            if error.fault not in (Fault.CAPACITY, Fault.OVERLOADED) or time.monotonic() > deadline:
                raise
            pause = _LOOK_SECONDS if error.fault is Fault.CAPACITY else 1.0
        await asyncio.sleep(pause)
        while runtime.slots_used == runtime.slots and time.monotonic() < deadline:
            if await request.is_disconnected():
                raise gone()
            await asyncio.sleep(_LOOK_SECONDS)


def gone() -> StreamError:
    """The end of a request whose client did not wait for it."""
    return StreamError(Fault.CLIENT_TIMEOUT, "the client has gone")
