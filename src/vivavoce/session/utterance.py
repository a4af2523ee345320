"""All that a stream of text to speech gave, in one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import Speech, SpeechEvent, Utterance, WordSpoken


def utterance(events: Iterable[SpeechEvent]) -> Utterance:
    """The frames joined, and the words."""
    frames, words = list[NDArray[np.float32]](), list[WordSpoken]()
    for event in events:
        if isinstance(event, Speech):
            frames.append(event.samples)
        elif isinstance(event, WordSpoken):
            words.append(event)
    return Utterance(np.concatenate([np.zeros(0, np.float32), *frames]), tuple(words))
