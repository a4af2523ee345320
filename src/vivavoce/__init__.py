"""vivavoce: live speech-to-text and text-to-speech for Kyutai's delayed-streams models.

from vivavoce import Transcriber
print(Transcriber.load().transcribe("recording.flac").text)

from vivavoce import Synthesizer, audio
audio.save("said.wav", Synthesizer.load().say("four one five").samples)
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core import Transcript, Utterance, Word
    from .synthesizer import Synthesizer
    from .transcriber import Transcriber

__all__ = ["Synthesizer", "Transcriber", "Transcript", "Utterance", "Word", "__version__"]
__version__ = version("vivavoce")


def __getattr__(name: str) -> Any:
    """Loaded when asked for: the server, the client and `--help` must not pay for torch."""
    if name == "Transcriber":
        from .transcriber import Transcriber

        return Transcriber
    if name == "Synthesizer":
        from .synthesizer import Synthesizer

        return Synthesizer
    if name in ("Transcript", "Utterance", "Word"):
        from . import core

        return getattr(core, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
