"""Text to speech, measured as a listener hears it: how soon it begins, and whether it then keeps up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vivavoce.core import FRAME_SECONDS, Speech, SpeechEvent, WordSpoken

from .figures import Summary, summarise

RESERVE = 0.24  # seconds of audio that a player holds before the first is heard (`audio.player.PREBUFFER`)


@dataclass(frozen=True)
class Run:
    """One text, spoken once; times in seconds."""

    connect: float | None  # from the call to an open websocket; None in this process
    first_audio: float  # from the first text given to the first frame
    wall: float  # from the first text given to the last frame
    late: float  # what the latest frame was behind, for a listener who began with the first
    audio: float
    words: int

    @property
    def rtf(self) -> float:
        """Time taken / audio: below 1 is faster than real time."""
        return self.wall / self.audio

    @property
    def kept_up(self) -> bool:
        """Whether a player with a usual reserve would never have fallen silent."""
        return self.late <= RESERVE


class Ear:
    """Hears one stream; `now` is any clock's, in seconds."""

    def __init__(self, begun: float, connect: float | None = None) -> None:
        self._begun, self._connect = begun, connect
        self._first = self._last = self._late = 0.0
        self._frames = self._words = 0

    def hear(self, event: SpeechEvent, now: float) -> None:
        if isinstance(event, WordSpoken):
            self._words += 1
        elif isinstance(event, Speech):
            self._first = self._first if self._frames else now
            self._late = max(self._late, now - self._first - self._frames * FRAME_SECONDS)
            self._frames += 1
            self._last = now

    def run(self) -> Run | str:
        """What was measured, or why nothing was."""
        if not self._frames:
            return "no audio came"
        return Run(
            self._connect,
            self._first - self._begun,
            self._last - self._begun,
            self._late,
            self._frames * FRAME_SECONDS,
            self._words,
        )


@dataclass(frozen=True)
class Load:
    """So many streams at once, in rounds; a text among the results says why a stream gave no figures."""

    streams: int
    results: Sequence[Run | str]
    seconds: float  # of all rounds

    @property
    def runs(self) -> list[Run]:
        return [result for result in self.results if isinstance(result, Run)]

    @property
    def failures(self) -> list[str]:
        return [result for result in self.results if isinstance(result, str)]

    @property
    def passed(self) -> bool:
        """Whether every stream was spoken, and kept up."""
        return not self.failures and all(run.kept_up for run in self.runs)

    @property
    def speed_x(self) -> float:
        """Audio of all streams / time taken."""
        return sum(run.audio for run in self.runs) / self.seconds

    def summary(self, measure: str) -> Summary | None:
        """Of `connect`, `first_audio`, `wall`, `late`, `rtf`, `audio` or `words`."""
        return summarise(getattr(run, measure) for run in self.runs)

    def row(self) -> dict[str, Any]:
        """One line of a table: milliseconds where the name says so; None where nothing was measured."""
        first, rtf, late = self.summary("first_audio"), self.summary("rtf"), self.summary("late")
        return {
            "streams": self.streams,
            "runs": len(self.runs),
            "failed": len(self.failures),
            "kept_up": sum(run.kept_up for run in self.runs),
            "first_audio_p50_ms": first and round(1000 * first.p50, 1),
            "first_audio_p95_ms": first and round(1000 * first.p95, 1),
            "rtf_p50": rtf and round(rtf.p50, 4),
            "rtf_p95": rtf and round(rtf.p95, 4),
            "late_p95_ms": late and round(1000 * late.p95, 1),
            "audio_seconds": round(sum(run.audio for run in self.runs), 2),
            "speed_x": round(self.speed_x, 3),
        }

    def as_json(self) -> dict[str, Any]:
        """The row, every run, and the summaries in seconds."""
        measures = ("connect", "first_audio", "wall", "late", "rtf", "audio", "words")
        summaries = {measure: self.summary(measure) for measure in measures}
        return {
            **self.row(),
            "passed": self.passed,
            "all": [{**asdict(run), "rtf": run.rtf, "kept_up": run.kept_up} for run in self.runs],
            "failures": self.failures,
            "summary": {measure: found and asdict(found) for measure, found in summaries.items()},
        }
