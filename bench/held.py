"""Speech that the embedded model never learned from, for the measurements here."""

from __future__ import annotations

import tempfile
from pathlib import Path

from vivavoce.train.corpus import Clip, Request
from vivavoce.train.voices import source

TAKES = (5, 6, 7)


def held(shared: Path) -> list[Clip]:
    """The takes of the digit corpus that were held out; `shared` is the folder of recordings."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = source("fsdd")(Request(Path(folder), shared, 0))
        return [clip for job in jobs if int(job.key.rsplit("_", 1)[-1]) in TAKES for clip in job.make()]
