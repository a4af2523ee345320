"""What a caller of text to speech has asked for and was not done yet."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from vivavoce.server.dialects.orders import MOST, Order, Orders
from vivavoce.server.dialects.speech_codec import Eos, Flush, Text, Voice


def test_orders_are_taken_as_they_came() -> None:
    async def main() -> list[Order]:
        orders = Orders()
        for order in (Text("a"), Flush(1), Text("b"), Eos()):
            await orders.put(order)
        return [await orders.take(), *orders.take_all()]

    assert asyncio.run(main()) == [Text("a"), Flush(1), Text("b"), Eos()]


@pytest.mark.parametrize(
    "large", [Text("x" * MOST), Voice(np.zeros((1024, MOST // 4096), np.float32))], ids=["text", "voice"]
)
def test_what_is_too_much_waits_until_something_was_taken(large: Order) -> None:
    async def main() -> None:
        orders = Orders()
        await orders.put(large)
        late = asyncio.create_task(orders.put(Text("late")))
        await asyncio.sleep(0.01)
        assert not late.done()
        assert await orders.take() is large
        await late
        assert await orders.take() == Text("late")

    asyncio.run(main())


def test_who_waits_for_an_order_gets_it() -> None:
    async def main() -> Order:
        orders = Orders()
        waiting = asyncio.create_task(orders.take())
        await asyncio.sleep(0)
        await orders.put(Flush(2))
        return await waiting

    assert asyncio.run(main()) == Flush(2)
