"""The stream's own clock: the samples its caller pushed, without any silence that was inserted."""

from __future__ import annotations

from collections import deque


class Clock:
    """Where on the caller's clock the steps of the engine lie; all times in samples (spec §3.2, §3.4).

    The text at index j speaks of the audio D frames before. Every time that a step can ask for is thus a border
    between two stepped frames, at most D back: the clock remembers those D + 1 borders and nothing older. Inserted
    silence is zero samples long, so a border within it falls where it was inserted.
    """

    def __init__(self, delay_frames: int) -> None:
        self._delay = delay_frames
        self._index = 0  # of the newest text token; frame f yields f + 1
        self._borders = deque([0] * (delay_frames + 1), maxlen=delay_frames + 1)

    def advance(self, heard: int) -> None:
        """One more frame has been stepped, of which the caller pushed `heard` samples."""
        self._index += 1
        self._borders.append(self._borders[-1] + heard)

    def restart(self) -> None:
        """The next token is of a context that was begun afresh: at first it speaks of no audio. The time goes on."""
        self._index = 0

    @property
    def now(self) -> int:
        """All the audio stepped so far."""
        return self._borders[-1]

    @property
    def speaks(self) -> bool:
        """Whether the newest token can speak of audio at all (n >= D in the words of spec §3.4)."""
        return self._index + 1 >= self._delay

    @property
    def piece(self) -> int:
        """When the newest token, being a piece, was said: border j - D, not before 0."""
        return self._borders[0]

    @property
    def marker(self) -> int:
        """What the newest token, being a marker, points to: border j + 1 - D, not after now."""
        return self._borders[min(1, self._delay)]
