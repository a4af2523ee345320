"""Streams, and the engine's own process behind them: admission, fairness, restart and restore. Without torch."""

from vivavoce.settings.limits import Limits

from .messages import EngineSpec, ModelInfo
from .metrics import Metrics
from .options import StreamOptions
from .runtime import Runtime
from .stream import Stream

__all__ = ["EngineSpec", "Limits", "Metrics", "ModelInfo", "Runtime", "Stream", "StreamOptions"]
