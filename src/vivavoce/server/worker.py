"""A front-end worker: `python -m vivavoce.server.worker`, begun by the main process (`workers.py`).

It has the sockets, dialects and sessions of its own callers; the engine is the main process's. It ends with that.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import socket
import sys

from vivavoce.core import VivavoceError
from vivavoce.runtime import Metrics, share_of
from vivavoce.runtime.orphan import end_with_parent

from . import logs
from .channel import Channel
from .listen import beside
from .memory import give_back_large_blocks
from .office import Office, collected
from .orders import Orders
from .secret import judge_secret
from .serving import Service, outfit
from .wire import loop_factory


def main() -> None:
    """Serves until the main process says so, or has ended."""
    faulthandler.enable()
    orders = Orders.read(sys.stdin.buffer)
    end_with_parent()
    give_back_large_blocks()
    with asyncio.Runner(loop_factory=loop_factory(orders.settings)) as runner:
        try:
            sys.exit(runner.run(_serve(orders)))
        except VivavoceError as error:
            sys.exit(f"vivavoce: a worker cannot serve: {error}")


async def _serve(orders: Orders) -> int:
    settings = orders.settings
    metrics = Metrics()
    answers = {"collect": lambda: collected(metrics.registry), "pulse": lambda: None}
    channel = await Channel.over(socket.socket(fileno=orders.channel), answers)
    office = Office(channel)
    logs.set_up_worker(settings, office.handler())
    judge_secret(settings, aloud=False)  # the main process has
    shares = {
        label: await share_of(socket.socket(fileno=number), orders.process) for label, number in orders.lines.items()
    }
    with contextlib.ExitStack() as cleanup:
        listener = cleanup.enter_context(beside(settings.addr, orders.port))
        second = None
        if settings.wyoming_at and orders.wyoming is not None:
            second = cleanup.enter_context(beside(settings.wyoming_at[0], orders.wyoming))
        service = Service(settings, listener, outfit(settings, cleanup), second, office, shares, metrics)
        service.status.started = orders.started
        await service.start(wait=orders.wait)
        code = await service.run()
    await channel.finish()
    return code


if __name__ == "__main__":
    main()
