"""vivavoce: live speech-to-text and text-to-speech for Kyutai's delayed-streams models.

from vivavoce import Transcriber
print(Transcriber.load().transcribe("recording.flac").text)
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core import Transcript, Word
    from .transcriber import Transcriber

__all__ = ["Transcriber", "Transcript", "Word", "__version__"]
__version__ = version("vivavoce")


def __getattr__(name: str) -> Any:
    """Loaded when asked for: the server, the client and `--help` must not pay for torch."""
    if name == "Transcriber":
        from .transcriber import Transcriber

        return Transcriber
    if name in ("Transcript", "Word"):
        from . import core

        return getattr(core, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
