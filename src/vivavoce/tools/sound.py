"""Whether this machine can record and play what the models hear and say: mono float32 at 24 kHz."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from vivavoce.audio import devices
from vivavoce.audio.devices import Kind
from vivavoce.core import SAMPLE_RATE, UnsupportedError

from .finding import Finding

KINDS: dict[str, Kind] = {"microphone": "input", "speaker": "output"}


def sounds() -> Iterator[Finding]:
    """A server needs neither, so what is missing is a note."""
    for topic, kind in KINDS.items():
        try:
            found = devices.devices(kind)
            chosen = devices.choose(found, None, kind)
        except UnsupportedError as error:
            yield Finding(topic, "note", str(error), _remedy(str(error)))
            continue
        others = f", {len(found)} in all: vivavoce mic --list-devices" if len(found) > 1 else ""
        takes = "24 kHz mono float32" if _takes(kind, chosen.index) else f"{chosen.rate} Hz, which is resampled"
        yield Finding(topic, "ok", f"{chosen.index}: {chosen.name}, {takes}{others}")


def _remedy(error: str) -> str | None:
    if "PortAudio library" in error and sys.platform == "linux":
        return "apt-get install libportaudio2"
    return "pip install 'vivavoce[mic]'" if "vivavoce[mic]" in error else None


def _takes(kind: Kind, index: int) -> bool:
    sounds: Any = devices.library(kind)
    check = getattr(sounds, f"check_{kind}_settings")
    try:
        check(device=index, channels=1, dtype="float32", samplerate=SAMPLE_RATE)
    except (sounds.PortAudioError, ValueError):
        return False
    return True
