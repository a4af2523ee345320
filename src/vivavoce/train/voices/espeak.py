"""espeak-ng: many robots, of use because no two sound alike."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial

import numpy as np

from ..corpus import Audio, EngineMissingError, Job, Request
from ..sentences import french
from .mix import Voice, run, takes

LICENCE = "output of espeak-ng (program GPL-3.0-or-later)"
ACCENTS = (
    "en-us",
    "en-gb",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
)
# Whispers and sound effects teach nothing.
_VARIANTS = """
adam Alex Alicia Andrea Andy anika Annie antonio aunty belinda benjamin boris caleb david Denis
Diogo ed edward edward2 f1 f2 f3 f4 f5 Gene Gene2 grandma grandpa gustave Henrique Hugo iven iven2
Jacky john klatt klatt2 klatt3 klatt4 Lee linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo Marco Mario max
Michael michel miguel Mike norbert pablo paul pedro quincy rob robert sandro shelby steph steph2
travis victor zac
"""
VARIANTS = tuple(_VARIANTS.split())


def jobs(request: Request) -> Iterator[Job]:
    """Every variant with one accent, and a few French voices for other speech."""
    if not shutil.which("espeak-ng"):
        raise EngineMissingError("`apt-get install espeak-ng`")
    voices = [_voice(f"{ACCENTS[i % len(ACCENTS)]}+{name}") for i, name in enumerate(VARIANTS)]
    yield from takes(voices, request.seed, lists=1, strings=1, others=1)
    yield from takes([_voice(f"fr+{name}") for name in VARIANTS[::6]], request.seed, 0, 0, 2)


def _voice(name: str) -> Voice:
    say = partial(_say, name)
    if name.startswith("fr"):
        return Voice("espeak", name, LICENCE, say, text=lambda rng: str(rng.choice(french())))
    return Voice("espeak", name, LICENCE, say)


def _say(name: str, text: str, rng: np.random.Generator) -> Audio:
    pitch, rate = int(rng.integers(30, 75)), int(rng.integers(120, 215))
    return run(["espeak-ng", "-v", name, "-p", str(pitch), "-s", str(rate), "-w", "{}", text])
