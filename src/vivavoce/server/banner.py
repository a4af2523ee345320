"""What the server shows when it has started: what runs where, and how to reach it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from importlib.metadata import version

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from vivavoce.core import FRAME_RATE
from vivavoce.runtime import AnyRuntime, Hub, SpeechInfo
from vivavoce.settings import ServeSettings

from .listen import url
from .status import stream_paths


def show(settings: ServeSettings, runtimes: Mapping[str, AnyRuntime | Hub], listener: socket.socket) -> None:
    """On standard error: a box on a terminal (NO_COLOR is heeded), plain lines elsewhere."""
    rows = lines(settings, runtimes, listener)
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        for name, text in rows:
            print(f"{name + ':':<10}{text}", file=sys.stderr)
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, text)
    console.print(Panel(table, title=f"vivavoce {version('vivavoce')}", title_align="left", expand=False))


def lines(
    settings: ServeSettings, runtimes: Mapping[str, AnyRuntime | Hub], listener: socket.socket
) -> list[tuple[str, str]]:
    """What stands in it, as names and texts."""
    address = url(settings, listener)
    sockets = url(settings, listener, "ws")
    rows = [("open", address), ("streams", ", ".join(sockets + path for path in stream_paths(settings)))]
    rows += [(label, _engine(runtime)) for label, runtime in runtimes.items()]
    rows += [("auth", _auth(settings)), ("limits", _limits(settings)), ("status", f"{address}/api/status")]
    return rows


def _engine(runtime: AnyRuntime | Hub) -> str:
    info = runtime.info
    assert info is not None  # it is ready
    where = f"{info.name} on {info.device}, {info.dtype}, {info.slots} slots"
    if isinstance(info, SpeechInfo):
        voices = f"{len(info.voices)} voices" if info.voices else "one voice"
        return f"{where}, {voices}, voice {info.profile.delay_steps / FRAME_RATE:g} s behind the text, pid {info.pid}"
    return f"{where}, text {info.delay_seconds:g} s behind the voice, pid {info.pid}"


def _auth(settings: ServeSettings) -> str:
    if not settings.protected:
        return "off: everyone on this machine may connect" if settings.loopback else "off: everyone may connect"
    number = len(settings.api_keys)
    kinds = [f"{number} API key{'s' if number > 1 else ''}"] if number else []
    kinds += ["accounts"] if settings.accounts else []
    kinds += ["tokens"] if settings.jwt_secret else []
    kinds += ["Modal's headers"] if settings.modal_headers else []
    return "on: " + ", ".join(kinds)


def _limits(settings: ServeSettings) -> str:
    session = f"sessions of {settings.session_seconds:g} s" if settings.session_seconds else "sessions of any length"
    idle = f"idle {settings.idle_seconds:g} s, " if settings.idle_seconds else ""
    return f"{session}, {idle}messages of {settings.message_bytes.human_readable()}"
