"""Run by test_ray.py in a process of its own: a Ray cluster of this machine, live streams, and what may happen to them.

    ray_cluster.py deaths     replicas and an engine die, go and come
    ray_cluster.py growth     replicas come with the streams, from none, and go after them

Prints one JSON object: what each stream heard, and how it went.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import psutil
import ray
from app import GROWTH, Vivavoce  # deploy/ray/app.py
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.context import _get_global_client

from vivavoce import audio, client
from vivavoce.client import Connected, Gap, Patience
from vivavoce.core import Flushed, WordEnded

STREAMS, SLOTS = int(os.environ["STREAMS"]), int(os.environ["VIVAVOCE_SLOTS"])
PORT, KEY = int(os.environ["PORT"]), os.environ.get("KEY")
FRAME = 1920
Streams = list[dict[str, Any]]


def replicas() -> list[dict[str, Any]]:
    found = _get_global_client().get_serve_details()["applications"]["default"]["deployments"]["Vivavoce"]["replicas"]
    return [replica for replica in found if replica["state"] == "RUNNING"]


def wait_for(count: int) -> None:
    deadline = time.monotonic() + 240
    while len(replicas()) != count:
        assert time.monotonic() < deadline, replicas()
        time.sleep(0.2)


def scale(count: int) -> None:
    serve.run(Vivavoce.options(autoscaling_config=None, num_replicas=count).bind())


def engine_of(replica: dict[str, Any]) -> int:
    children = psutil.Process(replica["pid"]).children(recursive=True)
    return next(child.pid for child in children if "vivavoce" in " ".join(child.cmdline()))


async def speak(samples: Any, told: dict[str, Any]) -> None:
    patience = Patience(open=60, first=120, again=180)
    async with client.connect(f"ws://127.0.0.1:{PORT}", dialect="stream", key=KEY, patience=patience) as stream:

        async def send() -> None:
            await stream.flush()  # its answer says that the vault has a copy
            began = time.monotonic()
            for frame, start in enumerate(range(0, len(samples), FRAME)):
                await asyncio.sleep(max(0.0, began + 0.08 * frame - time.monotonic()))
                await stream.send(samples[start : start + FRAME])
            await stream.end()

        sending = asyncio.create_task(send())
        async for event in stream:
            match event:
                case WordEnded(word):
                    told["words"].append(word.text)
                case Connected(resumed=resumed):
                    told["connections"].append(resumed)
                case Flushed():
                    told["kept"] = True
                case Gap(start, stop):
                    told["gaps"].append([start, stop])
        await sending


async def die(streams: Streams, events: list[str]) -> None:
    """Between the frames: an engine dies, a replica dies, a replica is drained, another comes."""
    do = asyncio.to_thread
    while not all(stream["kept"] for stream in streams):
        await asyncio.sleep(0.1)
    await asyncio.sleep(3)
    both = replicas()
    os.kill(engine_of(both[0]), signal.SIGKILL)
    events.append("engine killed")
    await asyncio.sleep(4)
    os.kill(both[1]["pid"], signal.SIGKILL)
    events.append("replica killed")
    await asyncio.sleep(5)
    await do(wait_for, 2)
    await do(scale, 1)
    await do(wait_for, 1)
    events.append("scaled down")
    await do(scale, 2)
    await do(wait_for, 2)
    events.append("scaled up")


async def grow(streams: Streams, events: list[str]) -> None:
    """Nobody does anything: replicas are as many as the streams want."""
    for count, what in (1, "one came"), (2, "another came"), (0, "none is left"):
        await asyncio.to_thread(wait_for, count)
        events.append(what)


async def main(happen: Callable[[Streams, list[str]], Awaitable[None]], after: float) -> dict[str, Any]:
    once = audio.load(os.environ["EXAMPLE"])
    samples = np.tile(once, int(os.environ["LOOPS"]))
    streams = [{"words": [], "connections": [], "gaps": [], "error": None, "kept": False} for _ in range(STREAMS)]
    events: list[str] = []
    happening = asyncio.ensure_future(happen(streams, events))
    first = asyncio.create_task(speak(samples, streams[0]))
    await asyncio.sleep(after)  # the others come later
    speaking = (speak(samples, told) for told in streams[1:])
    results = await asyncio.gather(first, *speaking, return_exceptions=True)
    for told, result in zip(streams, results, strict=True):
        told["error"] = None if result is None else repr(result)
    await happening
    return {"streams": streams, "events": events, "replicas": len(replicas())}


ray.init(num_cpus=6, include_dashboard=False, logging_level="ERROR", log_to_driver=bool(os.environ.get("SHOW")))
serve.start(http_options=HTTPOptions(host="127.0.0.1", port=PORT))
if sys.argv[1] == "deaths":
    scale(2)
    wait_for(2)
    result = asyncio.run(main(die, 0))
else:
    quick = {"initial_replicas": 0, "downscale_delay_s": 4.0, "look_back_period_s": 4.0, "metrics_interval_s": 1.0}
    serve.run(Vivavoce.options(autoscaling_config=GROWTH | quick).bind())
    result = asyncio.run(main(grow, 12))
serve.shutdown()
ray.shutdown()
print(json.dumps(result))
