"""Festival: two diphone voices and one statistical one, and shifts of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ..corpus import Audio, EngineMissingError, Job, Request
from .mix import Voice, run, takes

LICENCE = "BSD-like (Festival, festvox voices)"
VOICES = ("kal_diphone", "ked_diphone", "cmu_us_slt_arctic_hts")
PACKAGES = "festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts"
WARPS = (1.0, 0.88, 1.1)


def jobs(request: Request) -> Iterator[Job]:
    """Every installed voice at three formant scales."""
    if not shutil.which("text2wave"):
        raise EngineMissingError(f"`apt-get install {PACKAGES}`")
    installed = {path.name for path in Path("/usr/share/festival/voices").glob("*/*")}
    voices = [
        Voice("festival", name, LICENCE, partial(_say, name), warp)
        for warp in WARPS
        for name in VOICES
        if name in installed
    ]
    return takes(voices, request.seed, lists=6, strings=6, others=5)


def _say(name: str, text: str, rng: np.random.Generator) -> Audio:
    stretch = rng.uniform(0.8, 1.25)
    scheme = f"(begin (voice_{name}) (Parameter.set 'Duration_Stretch {stretch:.2f}))"
    return run(["text2wave", "-eval", scheme, "-o", "{}"], text)
