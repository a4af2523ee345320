"""Step times that were measured (bench/results/README.md), for machines on which nobody has measured yet."""

from __future__ import annotations

from collections.abc import Mapping

from vivavoce.core import FRAME_SECONDS

LOAD = 0.9  # of 80 ms: what the server lets a step of all live streams take (load_limit)
MACHINE = "2 cores of an AMD EPYC with avx512_bf16"
# (shape, dtype): threads, and milliseconds of a whole frame by the number of streams, medians at full context
STEPS: Mapping[tuple[str, str], tuple[int, Mapping[int, float]]] = {
    ("embedded", "float32"): (2, {1: 1.6, 4: 2.6, 16: 6.2}),
    ("stt-1b", "bfloat16"): (2, {1: 66.9, 4: 73.5, 16: 152.2}),
    ("stt-1b", "int8"): (2, {1: 31.9, 4: 47.3, 8: 51.8, 13: 67.8, 16: 81.9}),
    ("stt-1b", "int4"): (2, {1: 22.2, 4: 29.4, 8: 44.3, 13: 68.4, 16: 84.1}),
}
BUDGET = LOAD * 1000 * FRAME_SECONDS  # milliseconds
