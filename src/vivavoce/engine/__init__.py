"""Slots and steps. Synchronous: no asyncio, no sockets, no words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .outputs import StepOutput
from .snapshot import History, Snapshot
from .tts_snapshot import TtsHistory, TtsOptions, TtsSnapshot

if TYPE_CHECKING:
    from .null import NullEngine
    from .stt import SttEngine
    from .tts import TtsEngine, TtsOutput

__all__ = [
    "History", "NullEngine", "Snapshot", "StepOutput", "SttEngine", "TtsEngine", "TtsHistory", "TtsOptions",
    "TtsOutput", "TtsSnapshot",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Loaded when asked for: whoever keeps snapshots of streams must not pay for torch."""
    if name == "SttEngine":
        from .stt import SttEngine

        return SttEngine
    if name == "NullEngine":
        from .null import NullEngine

        return NullEngine
    if name in ("TtsEngine", "TtsOutput"):
        from . import tts

        return getattr(tts, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
