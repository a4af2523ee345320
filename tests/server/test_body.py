"""A body's time, by a clock that stands still unless somebody waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from vivavoce.core import Fault, StreamError
from vivavoce.server.body import Body
from vivavoce.settings import Limits

from ..bench import clock


async def taken(parts: int, size: int, pause: float, limits: Limits) -> int:
    """The bytes of a body that comes in parts, a pause before each."""
    come = 0

    async def receive() -> dict[str, Any]:
        nonlocal come
        await asyncio.sleep(pause)
        come += 1
        return {"type": "http.request", "body": bytes(size), "more_body": come < parts}

    body, total = Body(receive, limits), 0  # type: ignore[arg-type]
    while True:
        message = await body()
        total += len(message["body"])
        if not message["more_body"]:
            return total


def test_a_body_may_take_its_time_as_long_as_it_comes() -> None:
    """Three hours, by a line of 2 kB a second."""
    assert clock.run(taken(10_800, 2_000, 1.0, Limits(upload_seconds=5))) == 21_600_000


@pytest.mark.parametrize(
    ("size", "pause", "heard"),
    [(1, 0.9, "5 bytes after 5 s"), (900, 1.0, "36000 bytes after 41 s"), (0, 9.0, "0 bytes after 5 s")],
)
def test_one_that_drips_is_refused(size: int, pause: float, heard: str) -> None:
    with pytest.raises(StreamError, match=f"the body has {heard} and no end; that is too slow") as ended:
        clock.run(taken(10_000, size, pause, Limits(upload_seconds=5)))
    assert ended.value.fault is Fault.CLIENT_TIMEOUT


def test_one_that_is_promised_to_be_too_large_is_refused_before_it_comes() -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is asked for")

    async def main() -> None:
        body = Body(receive, Limits(upload_bytes=1_000), promised=1_001)  # type: ignore[arg-type]
        with pytest.raises(StreamError, match="the body has 1001 bytes; the limit is 1000") as refused:
            await body()
        assert refused.value.fault is Fault.TOO_LARGE

    asyncio.run(main())


def test_who_waits_for_the_end_of_the_connection_may_wait() -> None:
    """Behind the body comes nothing but that the client has gone."""

    async def main() -> None:
        come: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        body = Body(come.get, Limits(upload_seconds=5))  # type: ignore[arg-type]
        come.put_nowait({"type": "http.request", "body": b"all", "more_body": False})
        assert (await body())["body"] == b"all"
        asyncio.get_running_loop().call_later(3_600, come.put_nowait, {"type": "http.disconnect"})
        assert (await body())["type"] == "http.disconnect"

    clock.run(main())
