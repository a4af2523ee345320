"""Where the time of a frame goes, part by part, beside what the machine could do at most.

    python bench/parts.py --dtype int8 --batch 1,8,16 --threads 2

The native kernels are built once more with clocks between their parts (`laps.h`), and step the 1B shape with random weights at
full context. Of each part: milliseconds, medians.
The peaks are measured in the same run (`bench/peaks.cpp`).
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from vivavoce.bench.peer import fill
from vivavoce.checkpoints.random import SHAPES, random_models
from vivavoce.core import FRAME_SIZE
from vivavoce.engine.kernels import build
from vivavoce.engine.kernels.codec import NativeEncoder
from vivavoce.engine.kernels.library import Library
from vivavoce.engine.kernels.lm import NativeLm, Precision
from vivavoce.engine.kernels.packing import Format
from vivavoce.nn.rows import Rows

PARTS = (
    "embedding",
    "packing, norms",
    "products",
    "attention",
    "wide convolutions",
    "narrow convolutions",
    "choice of codes",
)
PRECISIONS = {
    "float32": (Format.FLOAT32, Format.FLOAT32),
    "bfloat16": (Format.BFLOAT16, Format.BFLOAT16),
    "int8": (Format.INT8, Format.INT8),
    "int4": (Format.INT4, Format.INT8),
}
STEPS = 9


class Clocked:
    """The kernels with clocks."""

    def __init__(self, folder: Path) -> None:
        self.library = Library(build.build(folder, ["-DWITH_LAPS"]))
        self._laps = self.library._functions.vivavoce_laps
        self._laps.argtypes = [ctypes.c_void_p]

    def milliseconds(self, step: Callable[[], object]) -> list[float]:
        """Of every part, medians."""
        told = list[list[float]]()
        for _ in range(STEPS + 2):
            self._spent()
            step()
            told.append(self._spent())
        return [statistics.median(part) for part in zip(*told[2:], strict=True)]

    def _spent(self) -> list[float]:
        seconds = (ctypes.c_double * len(PARTS))()
        self._laps(ctypes.addressof(seconds))
        return [second * 1e3 for second in seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="stt-1b", choices=sorted(SHAPES))
    parser.add_argument("--dtype", default="int8", choices=PRECISIONS)
    parser.add_argument("--codec", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--batch", default="1,8,16")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    batches = [int(size) for size in asked.batch.split(",")]
    mimi, lm = random_models(asked.shape, torch.bfloat16)
    with tempfile.TemporaryDirectory() as name:
        _peaks(Path(name))
        clocked = Clocked(Path(name))
    codec = NativeEncoder(clocked.library, mimi, max(batches), 1, Precision(*PRECISIONS[asked.codec]), asked.threads)
    native = NativeLm(clocked.library, lm, max(batches), 1, Precision(*PRECISIONS[asked.dtype]), asked.threads)
    fill(*native.heard, *codec._memory.rings.tensors)
    for batch in batches:
        rows = Rows(range(batch))
        audio = torch.randn(batch, FRAME_SIZE) * 0.1
        text, codes = torch.zeros(batch, 1, dtype=torch.long), torch.randint(lm.config.card, (batch, 1, lm.config.n_q))

        def encode() -> None:
            codec.position.fill_(2 * mimi.config.context)
            codec.encode(rows, audio, lm.config.n_q)

        def hear() -> None:
            native.position.fill_(lm.config.context)
            native.hear(rows, text, codes)

        for what, step in (f"codec {asked.codec}", encode), (f"LM {asked.dtype}", hear):
            parts = clocked.milliseconds(step)
            told = ", ".join(f"{name} {ms:.1f}" for name, ms in zip(PARTS, parts, strict=True) if ms >= 0.05)
            print(f"B={batch:<3} {what:15} {sum(parts):6.1f} ms: {told}", flush=True)


def _peaks(folder: Path) -> None:
    program = folder / "peaks"
    source = Path(__file__).parent / "peaks.cpp"
    subprocess.run(["c++", "-O3", "-march=native", "-pthread", str(source), "-o", str(program)], check=True)
    print(subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout, end="", flush=True)


if __name__ == "__main__":
    main()
