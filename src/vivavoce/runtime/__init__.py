"""Streams, and the engine's own process behind them: admission, fairness, restart and restore. Without torch."""

from vivavoce.settings.limits import Limits

from .distant import Share, share_of
from .hub import Hub
from .message import Spec
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
    "AnyRuntime", "EngineSpec", "Hub", "Limits", "Metrics", "ModelInfo", "Runtime", "Share", "Spec", "SpeechInfo",
    "SpeechOptions", "SpeechRuntime", "SpeechSpec", "SpeechStream", "Stream", "StreamOptions", "Vault", "share_of",
]  # fmt: skip
