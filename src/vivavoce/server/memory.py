"""How the server's process holds its memory: what streams took is given back when they end."""

from __future__ import annotations

import ctypes
import gc
import sys

LARGE = 65_536  # bytes: eight frames of audio
_M_MMAP_THRESHOLD = -3  # malloc.h


def give_back_large_blocks() -> None:
    """Have glibc map every large block by itself, so that freeing it returns it to the system; elsewhere nothing.

    Left alone, glibc raises that bound to the largest block ever freed. Queues and decoded audio then lie in the heap
    between small objects that live on, and the holes stay: 10,000 damaged Opus streams took 120 MB for good.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_THRESHOLD, LARGE)


def collect_seldom() -> None:
    """Look for cycles a tenth as often, and never among what was there at the start.

    Streams leave none behind: what they hold is let go of at once. But looking through all that hundreds of them hold
    takes a while, for which everyone waits.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
