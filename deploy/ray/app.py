"""vivavoce on Ray Serve: the server's own ASGI application in each replica, and streams that move between them.

serve run deploy.ray.app:app        settings are variables, VIVAVOCE_SLOTS and so on; RAY_MAX_REPLICAS, RAY_GPUS
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import Any

import ray
from ray import serve

from vivavoce.runtime import Metrics, Runtime
from vivavoce.server.app import create_app
from vivavoce.server.serving import outfit, runtime_of
from vivavoce.settings import load

SLOTS = int(os.environ.get("VIVAVOCE_SLOTS", "16"))
MOST = int(os.environ.get("RAY_MAX_REPLICAS", "4"))
GPUS = float(os.environ.get("RAY_GPUS", "0"))
KEEPS = 600.0  # seconds for which the vault holds what nobody has renewed
LOOKS = 1.0  # seconds between a replica's looks at whether it is to go
GROWTH = {
    "min_replicas": 0,
    "initial_replicas": 1,
    "max_replicas": MOST,
    "target_ongoing_requests": max(1.0, 0.7 * SLOTS),
    "upscale_delay_s": 2.0,
    "downscale_delay_s": 60.0,
}
DRAINS = 35.0  # seconds: streams that cannot move may finish


@ray.remote(num_cpus=0, max_restarts=-1)
class VaultActor:
    """The newest luggage of each stream, in memory."""

    def __init__(self) -> None:
        self._kept = dict[str, tuple[float, bytes]]()  # the oldest first

    def keep(self, id: str, luggage: bytes) -> None:
        now = time.monotonic()
        self._kept.pop(id, None)
        self._kept[id] = (now, luggage)
        while self._kept and next(iter(self._kept.values()))[0] < now - KEEPS:
            del self._kept[next(iter(self._kept))]

    def fetch(self, id: str) -> bytes | None:
        return self._kept.get(id, (0.0, None))[1]


class RayVault:
    """One actor for all replicas; it outlives them, and the application."""

    def __init__(self) -> None:
        name = f"vivavoce-vault-{serve.get_replica_context().app_name}"
        self._actor = VaultActor.options(
            name=name, namespace="vivavoce", lifetime="detached", get_if_exists=True
        ).remote()

    async def keep(self, id: str, luggage: bytes) -> None:
        await self._actor.keep.remote(id, luggage)

    async def fetch(self, id: str) -> bytes | None:
        return await self._actor.fetch.remote(id)  # type: ignore[no-any-return]


@serve.deployment(
    max_ongoing_requests=SLOTS,  # a websocket is one request
    autoscaling_config=GROWTH,
    graceful_shutdown_timeout_s=DRAINS,
    graceful_shutdown_wait_loop_s=0.5,
    health_check_period_s=5,
    ray_actor_options={"num_cpus": 1, "num_gpus": GPUS},
)
@serve.ingress()
class Vivavoce:
    """A replica: a runtime for each model, loaded before it takes streams."""

    async def __init__(self) -> None:
        settings = load({}, None, None).settings
        settings.demand_accounts()
        self._cleanup = contextlib.ExitStack()
        accounts = outfit(settings, self._cleanup)
        metrics, vault = Metrics(), RayVault()
        self._runtimes = {module.label: runtime_of(module, settings, metrics, vault) for module in settings.served}
        await asyncio.gather(*(runtime.start() for runtime in self._runtimes.values()))
        await asyncio.gather(*(runtime.wait_ready() for runtime in self._runtimes.values()))
        self._app = create_app(settings, self._runtimes, metrics, accounts)
        self._meter = self._app.state.meter
        self._keeping = asyncio.create_task(self._meter.run()) if self._meter else None
        self._watch = asyncio.create_task(self._until_told_to_go())

    def __serve_build_asgi_app__(self) -> Any:
        return self._app

    def check_health(self) -> None:
        """Ray replaces a replica whose engine cannot be begun again."""
        for runtime in self._runtimes.values():
            if runtime.error is not None:
                raise RuntimeError(runtime.error)

    async def __del__(self) -> None:
        self._watch.cancel()
        await asyncio.gather(*(runtime.stop() for runtime in self._runtimes.values()))
        if self._meter and self._keeping:
            self._meter.stop()
            await self._keeping
        self._cleanup.close()

    async def _until_told_to_go(self) -> None:
        """Then every stream that can be resumed goes to another replica, and the rest may finish."""
        own = serve.get_replica_context().replica_id.unique_id
        while not await asyncio.to_thread(_stops, own):
            await asyncio.sleep(LOOKS)
        self._app.state.status.draining = True
        for runtime in self._runtimes.values():
            if isinstance(runtime, Runtime):
                await runtime.move_out()


def _stops(replica: str) -> bool:
    """Ray tells a replica nothing before its last request has ended; its controller tells everybody."""
    from ray.serve.context import _get_global_client

    with contextlib.suppress(Exception):  # a controller that restarts; it is asked again
        details = _get_global_client().get_serve_details()
        for application in details["applications"].values():
            for deployment in application["deployments"].values():
                for known in deployment["replicas"]:
                    if replica in known["replica_id"]:
                        return bool(known["state"] == "STOPPING")
    return False


app = Vivavoce.bind()
