"""PyTorch's threads beside those of the kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .stt import SttEngine
from .tts import TtsEngine


def rest(engine: SttEngine | TtsEngine) -> None:
    """For a process that does nothing but step this engine: PyTorch needs no pool beside native kernels.

    It has a few small operations a step left, for which its threads would wait on cores where the kernels' threads
    spin, and the other way round: a second thread took twice the CPU time for the same audio on a quiet machine, and
    six times as long on a busy one.
    """
    if engine.native:
        torch.set_num_threads(1)


@contextmanager
def resting(engine: SttEngine | TtsEngine) -> Iterator[None]:
    """The same for a while, where a process does other things too."""
    threads = torch.get_num_threads()
    rest(engine)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
