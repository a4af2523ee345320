"""PyTorch's threads beside those of the kernels."""

from __future__ import annotations

from typing import Any

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


def step_at_rest(engine: SttEngine | TtsEngine, given: Any) -> object:
    """The same for one step of what is `given`, where a process does other things too."""
    threads = torch.get_num_threads()
    rest(engine)
    try:
        return engine.step(given)
    finally:
        torch.set_num_threads(threads)
