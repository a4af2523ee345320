"""Step times that were measured (bench/results/README.md), for machines on which nobody has measured yet."""

from __future__ import annotations

from collections.abc import Mapping

from vivavoce.core import FRAME_SECONDS

LOAD = 0.9  # of 80 ms: what the server lets a step of all live streams take (load_limit)
MACHINE = "2 cores of an AMD EPYC with avx512_bf16"
# (shape, dtype): threads, and milliseconds of a whole frame by the number of streams, medians at full context
STEPS: Mapping[tuple[str, str], tuple[int, Mapping[int, float]]] = {
    ("embedded", "float32"): (2, {1: 1.6, 4: 2.6, 16: 6.2}),
    ("stt-1b", "bfloat16"): (2, {1: 69.1, 4: 90.0, 16: 193.5}),
    ("stt-1b", "int8"): (2, {1: 44.1, 4: 60.4, 8: 85.1, 13: 115.9, 16: 133.3}),
    ("stt-1b", "int4"): (2, {1: 37.4, 4: 46.9, 8: 79.8, 13: 107.6, 16: 131.5}),
}
BUDGET = LOAD * 1000 * FRAME_SECONDS  # milliseconds
