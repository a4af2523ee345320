"""What a server with these settings would need of this machine: models on the disk, and a port."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from vivavoce.core import VivavoceError
from vivavoce.settings import HubSource, ServeSettings, SpeechModule, hub_cache, hub_offline, locate
from vivavoce.settings.modules import AnyModule
from vivavoce.settings.paths import cached

from . import machine
from .finding import Finding, bytes_of

PATIENCE = 2.0  # seconds for whoever has the port
SPARE = 2_000_000_000  # bytes of a disk that should stay free


def models(settings: ServeSettings) -> Iterator[Finding]:
    """Of every module; only headers are read. Nothing is downloaded."""
    missing = 0
    for module in settings.served:
        finding, to_download = _model(module)
        yield finding
        missing += to_download
    if missing:
        free, cache = machine.disk_free(hub_cache()), hub_cache()
        text = f"{bytes_of(free)} free at {cache}, {bytes_of(missing)} to download"
        yield Finding("disk", "ok" if free > missing + SPARE else "fault", text)
    if settings.log_dir:
        free = machine.disk_free(settings.log_dir)
        needed = settings.log_max_size_mb * 1_000_000 * (settings.log_max_files + 1)
        text = f"{bytes_of(free)} free at {settings.log_dir}, logs grow to {bytes_of(needed)}"
        yield Finding("disk", "ok" if free > needed else "warning", text)


def _model(module: AnyModule) -> tuple[Finding, int]:
    """And the bytes that are to be downloaded, as far as they are known."""
    try:
        where = locate(module.model) if module.model else None
        if isinstance(where, HubSource) and not cached(where, "config.json").is_file():
            return _absent(module, where)
        return Finding("model", "ok", f"{module.label}: {_shape(module)}"), 0
    except VivavoceError as error:
        return Finding("model", "fault", f"{module.label}: {error}", "vivavoce model ls"), 0


def _absent(module: AnyModule, where: HubSource) -> tuple[Finding, int]:
    from vivavoce.checkpoints.hub import KNOWN_MODELS

    size = next((known.bytes for known in KNOWN_MODELS if known.name == where.repository), 0)
    text = f"{module.label}: {where.repository} is not on this disk"
    if hub_offline():
        return Finding("model", "fault", f"{text} and HF_HUB_OFFLINE is set", f"HF_HUB_OFFLINE=0 {_pull(where)}"), 0
    told = f" ({bytes_of(size)})" if size else ""
    return Finding("model", "note", f"{text}; the first start downloads it{told}", _pull(where)), size


def _pull(where: HubSource) -> str:
    at = f"@{where.revision}" if where.revision else ""
    return f"vivavoce model pull {where.repository}{at}"


def _shape(module: AnyModule) -> str:
    """Names and shapes of all its tensors are right, or CheckpointError."""
    from vivavoce.checkpoints import Instead
    from vivavoce.checkpoints.verify import sizes_of

    instead = Instead(module.lm_file, module.mimi_file, module.tokenizer_file, module.codebooks)
    model = sizes_of(module.model, speaks=isinstance(module, SpeechModule), instead=instead)
    numbers = sum(weight.numel() for weight in model.lm.parameters())
    return (
        f"{model.config.name}, {numbers / 1e6:.0f} million weights in {model.dtype}, {Path(model.files['lm']).parent}"
    )


def doors(settings: ServeSettings) -> Iterator[Finding]:
    """Whether the port is free, and whether whoever comes in is let in on purpose."""
    if settings.port:
        yield _door(settings)
    if not (settings.loopback or settings.protected or settings.no_auth):
        advice = 'export VIVAVOCE_API_KEYS="$(openssl rand -hex 24)"'
        yield Finding("access", "fault", f"{settings.addr} is open to other machines and nobody says who may", advice)
    elif settings.no_auth and not settings.loopback:
        yield Finding("access", "warning", f"{settings.addr}: everybody who reaches this machine is let in (no_auth)")


def _door(settings: ServeSettings) -> Finding:
    family, *_, address = socket.getaddrinfo(settings.addr, settings.port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind(address)
        except OSError as error:
            return _taken(settings, error.strerror or str(error))
    return Finding("port", "ok", f"{settings.addr}:{settings.port} is free")


def _taken(settings: ServeSettings, reason: str) -> Finding:
    """A server of ours that runs already is no fault."""
    host = "127.0.0.1" if settings.addr in ("0.0.0.0", "::") else settings.addr
    here = f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"
    try:
        with urllib.request.urlopen(f"http://{here}/api/status", timeout=PATIENCE) as answer:
            told = json.load(answer)
        if "engines" in told:
            return Finding("port", "note", f"{here}: a vivavoce server runs there already", f"curl {here}/api/status")
    except (OSError, ValueError, TypeError):
        pass
    advice = f"vivavoce serve --port {settings.port + 1}" if settings.port < 65_535 else None
    return Finding("port", "fault", f"{settings.addr}:{settings.port} cannot be used: {reason}", advice)
