"""What the server says about itself: ready or not, healthy or not, what was built, what is served."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from vivavoce.runtime import AnyRuntime
from vivavoce.settings import ServeSettings
from vivavoce.settings.modules import AnyModule, SpeechModule

_WORST_FIRST = ("broken", "stopped", "draining", "loading", "restarting", "ready")


@dataclass
class Status:
    """The server's account of itself; `runtimes` by the labels of the modules."""

    settings: ServeSettings
    runtimes: Mapping[str, AnyRuntime]
    started: float = field(default_factory=time.time)
    draining: bool = False  # set when the process was told to end

    @property
    def state(self) -> str:
        """ready, loading, restarting, draining, broken or stopped: that of the module which is worst off."""
        states = {str(runtime.state) for runtime in self.runtimes.values()}
        if self.draining:
            return "draining"
        return min(states, key=_WORST_FIRST.index, default="ready")

    def ready(self) -> dict[str, Any]:
        """Body of /ready."""
        modules = {
            label: {"state": runtime.state, **({"error": runtime.error} if runtime.error else {})}
            for label, runtime in self.runtimes.items()
        }
        return {"status": self.state, "modules": modules}

    def health(self) -> dict[str, Any]:
        """Body of /api/health: the process is alive, whatever its engines do."""
        return {"status": "ok", "uptime_seconds": self._uptime()}

    def status(self) -> dict[str, Any]:
        """Body of /api/status; counts are integers."""
        capacity = _capacity(self.runtimes.values())
        return {
            "status": "healthy" if self.state == "ready" and capacity["available_slots"] else "degraded",
            "state": self.state,
            "instance": self.settings.instance_name,
            "uptime_seconds": self._uptime(),
            "started_at": datetime.fromtimestamp(self.started, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "build": build_info(),
            "capacity": {**capacity, "modules": [_module(module, runtime) for module, runtime in self._served()]},
            "auth": {
                "required": self.settings.protected,
                "api_key_configured": bool(self.settings.api_keys),
                "better_auth_enabled": self.settings.jwt_secret is not None,
            },
            "engines": [_engine(label, runtime) for label, runtime in self.runtimes.items()],
        }

    def modules_info(self) -> list[dict[str, str]]:
        """Body of /api/modules_info: everything is a string there, counts too."""
        return [
            {
                "type": _type(module),
                "path": module.path,
                "lm": _file(runtime, "lm") or module.lm_file or module.model or "",
                "audio_tokenizer": _file(runtime, "mimi") or module.mimi_file or module.model or "",
                "used_slots": str(runtime.slots_used),
                "total_slots": str(runtime.slots),
            }
            for module, runtime in self._served()
        ]

    def _served(self) -> list[tuple[AnyModule, AnyRuntime]]:
        return [(module, self.runtimes[module.label]) for module in self.settings.served]

    def _uptime(self) -> int:
        return int(time.time() - self.started)


def stream_paths(settings: ServeSettings) -> list[str]:
    """Where streams can be opened: each module's own path, and those of the dialects that choose one by name."""
    heard = settings.heard
    named = [f"/v1/stream/{module.label}" for module in heard] if len(heard) > 1 else []
    hearing = ["/v1/stream", "/v1/realtime", "/v1/listen", "/api/speech/asr"] if heard else []
    speaking = ["/v1/speak", "/api/speech/tts"] if settings.spoken else []
    return [*(module.path for module in settings.served), *hearing, *named, *speaking]


def build_info() -> dict[str, str]:
    """Body of /api/build_info: strings, whatever they say; clients take any object for a sign of life."""
    return {
        "name": "vivavoce",
        "version": version("vivavoce"),
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
    }


def _capacity(runtimes: Any) -> dict[str, int]:
    total, used = sum(runtime.slots for runtime in runtimes), sum(runtime.slots_used for runtime in runtimes)
    return {"total_slots": total, "used_slots": used, "available_slots": total - used}


def _type(module: AnyModule) -> str:
    """As moshi-server calls it."""
    return "py" if isinstance(module, SpeechModule) else "batched_asr"


def _module(module: AnyModule, runtime: AnyRuntime) -> dict[str, str | int]:
    return {"name": module.path, "module_type": _type(module), **_capacity([runtime])}


def _engine(label: str, runtime: AnyRuntime) -> dict[str, Any]:
    info = runtime.info
    median, p95 = runtime.step_seconds
    return {
        "name": label,
        "model": info.name if info else None,
        "device": info.device if info else None,
        "dtype": info.dtype if info else None,
        "pid": runtime.pid,
        "state": runtime.state,
        "error": runtime.error,
        "slots": runtime.slots,
        "used_slots": runtime.slots_used,
        "restarts": runtime.restarts,
        "step_ms": {"p50": round(1000 * median, 2), "p95": round(1000 * p95, 2)},
        "real_time_load": round(runtime.real_time_load, 3),
    }


def _file(runtime: AnyRuntime, kind: str) -> str:
    return runtime.info.files.get(kind, "") if runtime.info else ""
