"""Step times that were measured (bench/results/README.md), for machines on which nobody has measured yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from vivavoce.core import FRAME_SECONDS

LOAD = 0.9  # of 80 ms: what the server lets a step of all live streams take (load_limit)
BUDGET = LOAD * 1000 * FRAME_SECONDS  # milliseconds


@dataclass(frozen=True)
class Machine:
    """Where was measured, and what."""

    name: str
    # (shape, dtype): threads, and milliseconds of a whole frame by the number of streams, medians at full context
    steps: Mapping[tuple[str, str], tuple[int, Mapping[int, float]]]


WIDE = Machine(
    "2 cores of an AMD EPYC with avx512_bf16",
    {
        ("embedded", "float32"): (2, {1: 1.6, 4: 2.6, 16: 6.2}),
        ("stt-1b", "bfloat16"): (2, {1: 66.9, 4: 73.5, 16: 152.2}),
        ("stt-1b", "int8"): (2, {1: 31.9, 4: 47.3, 8: 51.8, 13: 67.8, 16: 81.9}),
        ("stt-1b", "int4"): (2, {1: 22.2, 4: 29.4, 8: 44.3, 13: 68.4, 16: 84.1}),
    },
)
TILED = Machine(
    "2 cores of an Intel Xeon with amx",
    {
        ("stt-1b", "int8"): (2, {1: 39.0, 4: 48.6, 8: 63.8, 12: 79.2, 13: 81.8, 14: 85.2, 15: 86.6, 16: 91.3}),
        ("stt-1b", "int4"): (2, {1: 29.1, 4: 37.0, 8: 49.0, 12: 62.0, 13: 61.9, 14: 64.6, 15: 67.6, 16: 70.5}),
    },
)
NARROW = Machine(
    "2 cores of an AMD EPYC with avx2 alone",
    {
        ("embedded", "float32"): (2, {1: 2.3, 4: 2.9, 16: 8.0}),
        ("stt-1b", "bfloat16"): (2, {1: 63.5, 4: 127.7}),
        ("stt-1b", "int8"): (2, {1: 35.6, 2: 42.8, 3: 47.8, 4: 61.1, 5: 71.0, 6: 80.2, 8: 111.0}),
        ("stt-1b", "int4"): (2, {1: 23.5, 2: 27.6, 3: 38.5, 4: 53.7, 5: 63.9, 6: 86.6, 8: 97.3}),
    },
)


def like(sets: Collection[str], kind: tuple[str, str]) -> Machine | None:
    """Of the machines where this shape and dtype was measured, the one whose vectors are likest to these of SETS."""
    narrow = "AVX2" in sets and "AVX-512 VNNI" not in sets
    machines = [NARROW] if narrow else [TILED, WIDE] if "AMX" in sets else [WIDE]
    return next((machine for machine in machines if kind in machine.steps), None)
