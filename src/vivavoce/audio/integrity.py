"""Whether audio is whole: what a listener would call broken, found in the samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vivavoce.core import SAMPLE_RATE, seconds

from .level import dbfs
from .source import Samples

LOUD_END = -30.0  # dBFS: audio that begins or ends louder than this was cut
END = 0.001  # seconds at each end
STEP = 0.4  # of full scale, between neighbours, and
SUDDEN = 12.0  # times the root mean square of the steps around it: a click
AROUND = 0.01  # seconds before and behind a step that it is compared with
RUN = 4  # samples at full scale, one after the other: clipped
FULL = 0.9899  # the server's limit is 0.99


@dataclass(frozen=True)
class Integrity:
    """What was found; `faults` says what of it is wrong."""

    seconds: float
    peak_dbfs: float | None  # None: silence
    start_dbfs: float | None  # peak of the first and the last millisecond
    end_dbfs: float | None
    clicks: tuple[float, ...]  # seconds
    clipped: int  # samples in runs at full scale
    not_finite: int  # samples

    @property
    def faults(self) -> list[str]:
        """One line each; empty for audio that is whole."""
        return list(self._faults())

    def _faults(self) -> Iterator[str]:
        if not self.seconds:
            yield "there is no audio"
        elif self.peak_dbfs is None and not self.not_finite:
            yield "silence only"
        if self.not_finite:
            yield f"{self.not_finite} samples are not finite"
        if self.clipped:
            yield f"{self.clipped} samples are clipped"
        for place, level in (("begins", self.start_dbfs), ("ends", self.end_dbfs)):
            if level is not None and level > LOUD_END:
                yield f"it {place} at {level:.1f} dBFS, as if cut"
        if self.clicks:
            yield f"{len(self.clicks)} clicks, the first at {self.clicks[0]:.3f} s"

    def as_json(self) -> dict[str, Any]:
        """All fields and the faults."""
        return {**asdict(self), "clicks": list(self.clicks), "faults": self.faults}


def examine(samples: Samples) -> Integrity:
    """Float32 [n] at 24 kHz."""
    finite = np.isfinite(samples)
    sound = np.where(finite, samples, 0).astype(np.float32)
    end = round(END * SAMPLE_RATE)
    return Integrity(
        seconds(len(samples)),
        _peak(sound),
        _peak(sound[:end]),
        _peak(sound[-end:]),
        tuple(_clicks(sound)),
        _clipped(sound),
        int(np.count_nonzero(~finite)),
    )


def _peak(samples: Samples) -> float | None:
    highest = float(np.abs(samples).max(initial=0.0))
    return round(dbfs(highest), 2) if highest else None


def _clicks(samples: Samples) -> Iterator[float]:
    """Steps between neighbours that are large, and of another size than those around them."""
    steps = np.diff(samples)
    around, last = round(AROUND * SAMPLE_RATE), -1.0
    for at in np.flatnonzero(np.abs(steps) > STEP):
        near = np.concatenate([steps[max(0, at - around) : at], steps[at + 1 : at + around + 1]])
        if abs(steps[at]) > SUDDEN * float(np.sqrt(np.mean(near**2, dtype=np.float64))):
            time = round(seconds(int(at) + 1), 4)
            if time - last > AROUND or last < 0:
                yield time
            last = time


def _clipped(samples: Samples) -> int:
    full = np.concatenate([[0], (np.abs(samples) >= FULL).astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(full))
    runs = edges[1::2] - edges[::2]
    return int(runs[runs >= RUN].sum())
