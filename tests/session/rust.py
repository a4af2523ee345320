"""The Rust server's algorithm as spec §3.4 words it, and the track layout of §8.1; both written apart from `src`."""

from __future__ import annotations

import math
from collections.abc import Sequence


def rust_words(tokens: Sequence[int], delay: int) -> tuple[list[tuple[tuple[int, ...], float]], list[float]]:
    """Word messages (pieces, start) and EndWord times of a track, text[0] included."""
    said, stops = [], []
    pieces: list[int] = []
    last_stop, is_open = 0.0, False
    for n, token in enumerate(tokens, start=1):
        if n < delay:
            continue
        if token in (0, 3):
            if pieces:
                said.append((tuple(pieces), last_stop))
                pieces, is_open = [], True
        else:
            pieces.append(token)
        if token == 0:
            time = (n - delay) / 12.5
            if is_open:
                stops.append(time)
                is_open = False
            last_stop = time
    return said, stops


def released_layout(spoken: Sequence[tuple[float, Sequence[int]]], delay_seconds: float, frames: int) -> list[int]:
    """Keep-and-shift interleaving of words (start in seconds, pieces)."""
    text = [3] * frames
    free = 0
    for start, pieces in spoken:
        at = max(math.floor((start + delay_seconds) * 12.5), free)
        if at > 0 and text[at - 1] == 3:
            text[at - 1] = 0
        text[at : at + len(pieces)] = pieces
        free = at + len(pieces)
    return text
