"""Servers under test: how a stream to one is opened, and what one tells about itself over HTTP."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from vivavoce.client import Patience, SttStream, connect, redacted
from vivavoce.client.address import targets
from vivavoce.client.services import Service
from vivavoce.core import StreamError

from .histogram import Histogram, read

ANSWER = 10.0  # seconds for a page
STEP = ("vivavoce_step_seconds", "asr_model_step_duration")  # ours, moshi-server's
FLUSH = ("vivavoce_flush_seconds",)
# What a stream under test waits for: a connection that is lost is a failure, not something to be healed here.
_PATIENCE = Patience(first=0.0, again=0.0)


@dataclass(frozen=True)
class Target:
    """One server, by the name that it was asked for."""

    name: str
    service: Service

    def open(self) -> SttStream:
        """A stream, to be entered with `async with`. It neither reconnects nor resumes."""
        return connect(self.service.url, resume=False, patience=_PATIENCE, **self.service.options())

    async def account(self) -> Account | None:
        """What the server tells about itself now; None where it tells nothing."""
        return await asyncio.to_thread(self.account_now)

    def account_now(self) -> Account | None:
        """The same, of a caller without an event loop."""
        metrics, status = self._get("/metrics"), self._get("/api/status")
        if metrics is None:
            return None
        return Account(read(metrics, STEP), read(metrics, FLUSH), _dictionary(status))

    def _get(self, path: str) -> str | None:
        place = targets(self.service.url, self.service.dialect)[0]
        request = urllib.request.Request(place.http + path, headers=_headers(self.service))
        proxies = urllib.request.ProxyHandler({} if place.loopback else None)
        try:
            with urllib.request.build_opener(proxies).open(request, timeout=ANSWER) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError, ValueError):  # a server need not tell
            return None


def _headers(service: Service) -> dict[str, str]:
    headers = dict(service.headers)
    if service.key:
        headers["kyutai-api-key"] = service.key
    if service.token:
        headers["Authorization"] = f"Bearer {service.token}"
    return headers


def _dictionary(page: str | None) -> Mapping[str, Any]:
    try:
        told = json.loads(page or "{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


@dataclass(frozen=True)
class Account:
    """What a server told at one moment."""

    steps: Histogram | None  # seconds of the engine's steps since it started
    flushes: Histogram | None  # seconds from a flush to its answer, in the server
    status: Mapping[str, Any]

    @cached_property
    def slots(self) -> tuple[int, int] | None:
        """(used, all)."""
        capacity = self.status.get("capacity") or {}
        used, total = capacity.get("used_slots"), capacity.get("total_slots")
        return (used, total) if isinstance(used, int) and isinstance(total, int) else None

    @cached_property
    def restarts(self) -> int:
        """Engines replaced since the server started."""
        return sum(int(engine.get("restarts", 0)) for engine in self.status.get("engines") or [])

    @cached_property
    def step_p95_ms(self) -> float | None:
        """Of the last minute, of the slowest engine."""
        told = [engine.get("step_ms", {}).get("p95") for engine in self.status.get("engines") or []]
        return max((float(value) for value in told if value is not None), default=None)


def target(service: Service, name: str | None = None) -> Target:
    """A server under test; without a name it goes by its URL, secrets left out."""
    return Target(name or redacted(service.url), service)


def explain(error: BaseException) -> str:
    """One line; a refusal begins with the name of its fault."""
    return f"{error.fault.name.lower()}: {error}" if isinstance(error, StreamError) else str(error)
