"""A soak: streams come and go for many minutes, some break off, some flush like mad, now and then the engine is killed
or another asked for.

    python bench/soak.py --minutes 20 --streams 12 --churn 0.2 --kill-every 120
    python bench/soak.py --minutes 4 --streams 10 --kill-every 45 --renew-every 20 --workers 2

Starts `vivavoce serve` itself, with the embedded model. Every stream speaks at real time; one that reaches its end must
have said what a lone stream says. Memory (RSS, from psutil) of the server and of its engine is sampled each second; its
slope is that of least squares over the second half, each engine process by itself. At the end every slot must be free.

One JSON line is added to bench/results/soak.jsonl, and the curves go to bench/results/soak.txt. Exit code 1 when a word
differed, a stream failed, or a slot was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import signal
import socket
import struct
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket

from vivavoce import audio
from vivavoce.bench import speaker as speaking
from vivavoce.bench.clip import EXAMPLE, Clip
from vivavoce.bench.speaker import Speaker
from vivavoce.client import connect
from vivavoce.core import FRAME_SIZE, Word

RESULTS = Path(__file__).parent / "results"
FAST = 1_000.0  # times real time
speaking.SILENT = 300.0  # seconds: an engine that was killed is loaded again, on whatever machine this runs
BORDER = 0.081  # seconds by which a word may move when its engine was killed
Spoken = list[tuple[str, float, float]]


@dataclass
class Tale:
    """What happened."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    memory: list[tuple[float, int, int, int]] = field(default_factory=list)  # seconds, server, engine (bytes), its pid
    kills: int = 0
    restarts: int = 0  # as the server counts them: engines killed, and those that were asked for

    def wrong(self, what: str) -> None:
        self.counts["wrong"] += 1
        self.faults = [*self.faults, what][-20:]


class Soak:
    """One server, and all that is done to it."""

    def __init__(self, options: argparse.Namespace, url: str, process: int) -> None:
        self.options, self.url, self.draw = options, url, random.Random(options.seed)
        self.tale = Tale()
        samples = audio.load(EXAMPLE)
        cuts = [27 * FRAME_SIZE, 69 * FRAME_SIZE, len(samples)]
        self.clips = [Clip(f"{cut / 24_000:.1f} s", np.ascontiguousarray(samples[:cut]), None, 0.0) for cut in cuts]
        self.alone: list[Spoken] = []
        self._server = psutil.Process(process)

    async def run(self) -> None:
        self.alone = [await self.speak(clip, FAST) for clip in self.clips]
        assert all(self.alone)
        end = time.monotonic() + 60 * self.options.minutes
        beside = (self.watch(), self.kill_now_and_then(), self.renew_now_and_then())
        tasks = [asyncio.create_task(each) for each in beside]
        await asyncio.gather(*(self.line(end, number) for number in range(self.options.streams)))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.every_slot_is_free()
        self.tale.restarts = (await self.status())["engines"][0]["restarts"]

    async def line(self, end: float, number: int) -> None:
        """Caller after caller in one place, until the time is over."""
        await asyncio.sleep(number * 0.37)
        while time.monotonic() < end:
            churn = self.options.churn
            (doing,) = self.draw.choices([self.listen, self.vanish, self.storm], [1 - churn, 0.7 * churn, 0.3 * churn])
            try:
                await doing(self.draw.randrange(len(self.clips)))
                self.tale.counts[doing.__name__] += 1
            except Exception as error:  # whatever it is, the soak goes on and tells it
                self.tale.wrong(f"{doing.__name__}: {type(error).__name__}: {error}")
            await asyncio.sleep(self.draw.random() * 0.5)

    async def speak(self, clip: Clip, speed: float) -> Spoken:
        async with connect(self.url, resume=self.draw.random() < 0.5) as stream:
            speaker = await Speaker.speak(stream, clip, speed)
        return [told(word) for heard in speaker.passes for word in heard.words]

    async def listen(self, which: int) -> None:
        """A caller who speaks to the end: no word may be missing, changed or said twice."""
        kills = self.tale.kills
        heard = await self.speak(self.clips[which], 1.0)
        self.tale.counts["words"] += len(heard)
        if not same(heard, self.alone[which], BORDER if self.tale.kills > kills else 1e-6):
            self.tale.wrong(f"heard {heard}, alone {self.alone[which]}")

    async def vanish(self, which: int) -> None:
        """A caller whose connection breaks: reset, cut, or closed in the midst of a word."""
        query = self.draw.choice(["", "?resume=true"])
        samples = self.clips[which].samples[: self.draw.randrange(1_000, len(self.clips[which].samples))]
        async with open_websocket(f"{self.url.replace('http', 'ws')}/v1/stream{query}", proxy=None) as websocket:
            await self.talk(websocket, samples)
            how = self.draw.choice(["reset", "cut", "close"])
            if how == "reset":
                raw: socket.socket = websocket.transport.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if how != "close":
                websocket.transport.abort()

    async def talk(self, websocket: ClientConnection, samples: np.ndarray) -> None:
        """Real time, for the first two seconds of it; what comes back is thrown away."""
        for start in range(0, min(len(samples), 48_000), FRAME_SIZE):
            await websocket.send(samples[start : start + FRAME_SIZE].tobytes())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(websocket.recv(), 0.08)

    async def storm(self, which: int) -> None:
        """A caller who flushes after each 80 ms for two seconds; each flush is answered, in its order."""
        samples = self.clips[which].samples[:48_000]
        async with open_websocket(f"{self.url.replace('http', 'ws')}/v1/stream", proxy=None) as websocket:
            for number, start in enumerate(range(0, len(samples), FRAME_SIZE)):
                await websocket.send(samples[start : start + FRAME_SIZE].tobytes())
                await websocket.send(json.dumps({"type": "flush", "id": number}))
                await asyncio.sleep(0.08)
            await websocket.send('{"type":"eos"}')
            messages = [json.loads(message) async for message in websocket]
        answered = [message["id"] for message in messages if message["type"] == "flushed"]
        if answered != list(range(number + 1)) or messages[-1]["type"] != "end":
            self.tale.wrong(f"flushes answered: {answered}, last message {messages[-1]}")

    async def kill_now_and_then(self) -> None:
        for number in itertools.count(1):
            await asyncio.sleep(self.options.kill_every)
            engine = (await self.status())["engines"][0]
            if engine["state"] == "ready":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(engine["pid"], signal.SIGKILL)
                self.tale.kills += 1
            assert number < 1_000_000

    async def renew_now_and_then(self) -> None:
        """As an operator does, with a signal: streams move to another engine."""
        while self.options.renew_every:
            await asyncio.sleep(self.options.renew_every)
            self._server.send_signal(signal.SIGUSR1)

    async def watch(self) -> None:
        """Samples of memory, once a second."""
        began = time.monotonic()
        while True:
            with contextlib.suppress(psutil.Error, StopIteration):
                children = self._server.children()
                engine = next(child for child in children if "vivavoce.runtime.worker" in child.cmdline())
                sample = self._server.memory_info().rss, engine.memory_info().rss, engine.pid
                if all(sample):  # one that has just been killed has no memory
                    self.tale.memory.append((round(time.monotonic() - began, 1), *sample))
            await asyncio.sleep(1)

    async def every_slot_is_free(self) -> None:
        for _ in range(200):
            self.used = (await self.status())["capacity"]["used_slots"]
            if not self.used:
                return
            await asyncio.sleep(0.5)
        self.tale.wrong(f"{self.used} slots are lost")

    async def status(self) -> Any:
        def fetch() -> Any:
            with urllib.request.urlopen(f"{self.url}/api/status", timeout=60) as answer:
                return json.load(answer)

        return await asyncio.to_thread(fetch)


def told(word: Word) -> tuple[str, float, float]:
    return word.text, word.start, word.stop


def same(heard: Spoken, alone: Spoken, border: float) -> bool:
    """The same words; times within `border` seconds."""
    if [text for text, *_ in heard] != [text for text, *_ in alone]:
        return False
    return all(
        abs(a - b) <= border for one, other in zip(heard, alone, strict=True) for a, b in zip(one[1:], other[1:])
    )


def slope(points: list[tuple[float, int]]) -> float | None:
    """MB a minute, by least squares; None with fewer than thirty samples."""
    if len(points) < 30:
        return None
    seconds, memory = np.array(points, float).T
    return round(float(np.polyfit(seconds / 60, memory / 1e6, 1)[0]), 3)


def figures(tale: Tale, options: argparse.Namespace, used: int) -> dict[str, Any]:
    """The line of results."""
    late = [sample for sample in tale.memory if sample[0] > 30 * options.minutes]
    engines = {pid: [(s, rss) for s, _, rss, one in tale.memory if one == pid] for *_, pid in tale.memory}
    settled = {pid: points[20:] for pid, points in engines.items()}  # a new engine grows while its slots fill
    slopes = [(len(points), rate) for pid, points in settled.items() if (rate := slope(points)) is not None]
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "minutes": options.minutes, "streams": options.streams, "churn": options.churn, "workers": options.workers,
        "kills": tale.kills, "restarts": tale.restarts,
        **{name: tale.counts[name] for name in ("listen", "vanish", "storm", "words", "wrong")},
        "slots_used_at_the_end": used,
        "server_mb": [round(tale.memory[0][1] / 1e6, 1), round(tale.memory[-1][1] / 1e6, 1)],
        "server_mb_a_minute": slope([(s, rss) for s, rss, *_ in late]),
        "engine_mb": [round(points[-1][1] / 1e6, 1) for points in engines.values()],
        "engine_mb_a_minute": weighted(slopes),
        "faults": tale.faults,
    }  # fmt: skip


def weighted(slopes: list[tuple[int, float]]) -> float | None:
    """The mean of some slopes, by their samples."""
    return round(sum(n * rate for n, rate in slopes) / sum(n for n, _ in slopes), 3) if slopes else None


def plot(points: list[tuple[float, int]], name: str, width: int = 72, height: int = 10) -> str:
    """Memory over time as text."""
    seconds, memory = np.array(points, float).T
    low, high = memory.min(), memory.max()
    rows = [[" "] * width for _ in range(height)]
    for second, value in zip(seconds, memory):
        column = int((second - seconds[0]) / max(1e-9, seconds[-1] - seconds[0]) * (width - 1))
        rows[height - 1 - int((value - low) / max(1.0, high - low) * (height - 1))][column] = "*"
    lines = ["".join(row).rstrip() for row in rows]
    top, bottom = f"{high / 1e6:8.1f} MB", f"{low / 1e6:8.1f} MB"
    edges = [top, *[" " * len(top)] * (height - 2), bottom]
    axis = f"{'':11}  0 {'':{width - 12}}{seconds[-1] / 60:.1f} min"
    return "\n".join([name, *(f"{edge} |{line}" for edge, line in zip(edges, lines, strict=True)), axis])


async def serve_and_soak(options: argparse.Namespace) -> int:
    command = [sys.executable, "-m", "vivavoce", "serve", "--port", "0", "--load-limit", "0", "--threads", "1"]
    server = await asyncio.create_subprocess_exec(
        *command,
        *("--slots", str(options.streams + 8), "--resume-seconds", "5", "--workers", str(options.workers)),
        stderr=asyncio.subprocess.PIPE,
    )
    assert server.stderr
    try:
        url = ""
        while b"Ready after" not in (line := await server.stderr.readline()):
            assert line, "the server has ended"
            if found := re.search(rb"Listening on (\S+)", line):
                url = found[1].decode()
        log = asyncio.create_task(drain(server.stderr))
        soak = Soak(options, url, server.pid)
        await soak.run()
    finally:
        server.terminate()
        code = await server.wait()
    await log
    line = {**figures(soak.tale, options, soak.used), "server_exit_code": code}
    print(json.dumps(line))
    report(line, soak.tale, options.results)
    return int(bool(soak.tale.counts["wrong"] or soak.used or code))


async def drain(lines: asyncio.StreamReader) -> None:
    """A pipe that nobody reads would stop the server."""
    while await lines.read(65_536):
        pass


def report(line: dict[str, Any], tale: Tale, folder: Path) -> None:
    with (folder / "soak.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    server, engine = [(s, rss) for s, rss, *_ in tale.memory], [(s, rss) for s, _, rss, _ in tale.memory]
    text = f"{plot(server, 'server process, RSS')}\n\n{plot(engine, 'engine process, RSS')}\n"
    (folder / "soak.txt").write_text(text, encoding="utf-8")
    print(text, file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--streams", type=int, default=12, help="callers at a time")
    parser.add_argument("--churn", type=float, default=0.2, help="share of callers that break off or storm")
    parser.add_argument("--kill-every", type=float, default=120, help="seconds between kills of the engine")
    parser.add_argument("--renew-every", type=float, default=0, help="seconds between SIGUSR1; 0: never")
    parser.add_argument("--workers", type=int, default=1, help="of the server")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the line and the curves")
    return asyncio.run(serve_and_soak(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
