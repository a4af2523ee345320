"""flite: four recorded American, Scottish and Indian-born speakers, and shifts of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial

import numpy as np

from ..corpus import Audio, EngineMissingError, Job, Request
from .mix import Voice, run, takes

LICENCE = "BSD-like (CMU Flite)"
PITCH = {"kal16": 105, "awb": 115, "rms": 95, "slt": 175}  # Hz; awb_time only tells the time
WARPS = (1.0, 0.86, 0.93, 1.08, 1.16)


def jobs(request: Request) -> Iterator[Job]:
    """Every voice at five formant scales."""
    if not shutil.which("flite"):
        raise EngineMissingError("`apt-get install flite`")
    voices = [Voice("flite", name, LICENCE, partial(_say, name), warp) for warp in WARPS for name in PITCH]
    return takes(voices, request.seed, lists=5, strings=6, others=5)


def _say(name: str, text: str, rng: np.random.Generator) -> Audio:
    pitch = PITCH[name] * rng.uniform(0.85, 1.2)
    stretch = rng.uniform(0.75, 1.3)
    prosody = ["--setf", f"duration_stretch={stretch:.2f}", "--setf", f"int_f0_target_mean={pitch:.0f}"]
    return run(["flite", "-voice", name, *prosody, "-t", text, "-o", "{}"])
