"""What the model should say at each step, from words with times (spec/model.md §8.1, with closing markers)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import FRAME_RATE, PAUSE_SECONDS, TEXT_BOUNDARY, TEXT_PAD

IGNORE = -100  # cross-entropy's "no target here"

Timed = tuple[int, float, float]  # piece id, start and stop in seconds


def text_track(
    words: Sequence[Timed], steps: int, delay_steps: int, jitter: np.random.Generator | None = None
) -> NDArray[np.int64]:
    """Text ids [steps]: a marker one step before each piece, another where the word stops, padding elsewhere.

    With D = `delay_steps`, the marker of a word at t seconds stands at round(12.5 t) + D - 1, so that a session
    reads its start back as (marker + 1 - D) / 12.5. `jitter` moves some words a step or two later: a model that has
    seen late words says a word late rather than not at all.
    """
    track = np.full(steps, TEXT_PAD, np.int64)
    free = 0  # first step not yet written
    for piece, start, stop in words:
        late = 0 if jitter is None else int(jitter.choice(3, p=(0.88, 0.09, 0.03)))
        marker = max(_step(start, delay_steps) + late, free - 1)
        if marker >= steps:
            break
        track[max(marker, free) :] = TEXT_PAD  # the word before is cut short by this one
        if marker >= free:  # else the piece before stands there: adjacent words have no marker between them
            track[marker] = TEXT_BOUNDARY
        if marker + 1 < steps:
            track[marker + 1] = piece
        end = max(_step(stop, delay_steps), marker + 2)
        if end < steps:
            track[end] = TEXT_BOUNDARY
        free = marker + 2
    return track


def pause_targets(words: Sequence[Timed], steps: int) -> NDArray[np.int64]:
    """Per step and head, int64 [steps, 4]: 0 where nobody speaks nor starts to within the horizon, 1 where one does.

    What lies beyond the end of the stream is unknown: IGNORE, unless a word comes before.
    """
    now = np.arange(steps) / FRAME_RATE
    starts = np.array([w[1] for w in words] + [np.inf])
    stops = np.array([w[2] for w in words] + [np.inf])
    following = np.searchsorted(stops, now, side="right")  # first word that has not stopped yet
    wait = np.maximum(starts[following] - now, 0)
    horizons = np.array(PAUSE_SECONDS)
    speech = (wait[:, None] < horizons).astype(np.int64)
    unknown = now[:, None] + horizons > steps / FRAME_RATE
    return np.where((speech == 0) & unknown, IGNORE, speech)


def _step(time: float, delay_steps: int) -> int:
    return int(np.floor(time * FRAME_RATE + 0.5)) + delay_steps - 1
