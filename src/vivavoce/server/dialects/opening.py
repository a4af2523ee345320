"""Opening a stream: what the module is set up for, what the caller asked for, and a refusal that can be read."""

from __future__ import annotations

from dataclasses import replace

from vivavoce.core import Fault, StreamError, UnknownVoiceError, UnsupportedError
from vivavoce.runtime import Runtime, SpeechOptions, SpeechRuntime, SpeechStream, Stream, StreamOptions
from vivavoce.settings.modules import Module, SpeechModule


def options_of(module: Module, **asked: object) -> StreamOptions:
    """The module's options with what was asked for (and is not None) in their place. Raises StreamError."""
    base = StreamOptions(seed=module.seed, vad_head=module.vad_head, vad_threshold=module.vad_threshold)
    try:
        return replace(base, **{name: value for name, value in asked.items() if value is not None})  # type: ignore[arg-type]
    except UnsupportedError as error:
        raise StreamError(Fault.INVALID_PARAMETER, str(error)) from None


def open_stream(runtime: Runtime, options: StreamOptions) -> Stream:
    """A new stream. Raises StreamError as `Runtime.open` does, and UNSUPPORTED for what the model cannot do."""
    try:
        return runtime.open(options)
    except UnsupportedError as error:
        raise StreamError(Fault.UNSUPPORTED, str(error)) from None


def speech_options(module: SpeechModule, **asked: object) -> SpeechOptions:
    """The module's options with what was asked for (and is not None) in their place. Raises StreamError."""
    try:
        given = {name: value for name, value in asked.items() if value is not None}
        return replace(SpeechOptions(seed=module.seed), **given)  # type: ignore[arg-type]
    except UnsupportedError as error:
        raise StreamError(Fault.INVALID_PARAMETER, str(error)) from None


def open_speech(runtime: SpeechRuntime, options: SpeechOptions) -> SpeechStream:
    """A new stream. Raises StreamError as `SpeechRuntime.open` does, and for what the model cannot do."""
    try:
        return runtime.open(options)
    except UnknownVoiceError as error:
        raise StreamError(Fault.UNKNOWN_VOICE, str(error)) from None
    except UnsupportedError as error:
        raise StreamError(Fault.UNSUPPORTED, str(error)) from None
