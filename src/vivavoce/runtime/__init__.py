"""Streams, and the engine's own process behind them: admission, fairness, restart and restore. Without torch."""

from vivavoce.settings.limits import Limits

from .messages import EngineSpec, ModelInfo
from .metrics import Metrics
from .options import SpeechOptions, StreamOptions
from .runtime import Runtime
from .speech_messages import SpeechInfo, SpeechSpec
from .speech_runtime import SpeechRuntime
from .speech_stream import SpeechStream
from .stream import Stream
from .vault import Vault

AnyRuntime = Runtime | SpeechRuntime
__all__ = [
    "AnyRuntime", "EngineSpec", "Limits", "Metrics", "ModelInfo", "Runtime", "SpeechInfo", "SpeechOptions",
    "SpeechRuntime", "SpeechSpec", "SpeechStream", "Stream", "StreamOptions", "Vault",
]  # fmt: skip
