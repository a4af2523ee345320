"""RHVoice: the four English voices that are free; its others forbid commercial use or changes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial

import numpy as np

from ..corpus import Audio, EngineMissingError, Job, Request
from .mix import Voice, run, takes

LICENCE = "LGPL-2.1+ (RHVoice; bdl, clb and slt after CMU ARCTIC)"
VOICES = ("alan", "bdl", "clb", "slt")
WARPS = (1.0, 0.87, 1.12)


def jobs(request: Request) -> Iterator[Job]:
    """Every free voice at three formant scales."""
    if not shutil.which("RHVoice-test"):
        raise EngineMissingError("`apt-get install rhvoice rhvoice-english` (Debian non-free)")
    voices = [Voice("rhvoice", name, LICENCE, partial(_say, name), warp) for warp in WARPS for name in VOICES]
    return takes(voices, request.seed, lists=5, strings=6, others=5)


def _say(name: str, text: str, rng: np.random.Generator) -> Audio:
    rate, pitch = int(rng.integers(75, 135)), int(rng.integers(80, 125))  # percent
    return run(["RHVoice-test", "-p", name, "-r", str(rate), "-t", str(pitch), "-o", "{}"], text)
