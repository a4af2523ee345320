"""Where the time of a frame goes, part by part, beside what the machine could do at most.

    python bench/parts.py --dtype int8 --batch 1,8,16 --threads 2

The native kernels are built once more with clocks between their parts (`laps.h`), and step a shape with random weights
at full context; milliseconds, medians. Products are those of matrices, the choice of codes what the quantiser does
besides; the wide part is the codec's convolutions but for the last. Peaks are of the same run (`bench/peaks.cpp`).
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
from vivavoce.nn.lm import LmConfig
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
FORMATS = {kind.name.lower(): kind for kind in Format}
STEPS = 9
FULL = 10_000  # a position beyond any context


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
    parser.add_argument("--dtype", default="int8", choices=FORMATS)
    parser.add_argument("--codec", default="int8", choices=["float32", "bfloat16", "int8"])
    parser.add_argument("--batch", default="1,8,16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", help="an instruction set of the kernels instead of the best one here")
    asked = parser.parse_args()
    batches = [int(size) for size in asked.batch.split(",")]
    mimi, lm = random_models(asked.shape, torch.bfloat16)
    with tempfile.TemporaryDirectory() as name:
        _peaks(Path(name))
        clocked = Clocked(Path(name))
    isa = asked.isa or next(iter(clocked.library.isas))
    if isa not in clocked.library.isas:
        parser.error(f"no {isa} here, but {', '.join(clocked.library.isas)}")
    print(f"kernels  {isa}", flush=True)
    how = max(batches), 1
    codec = NativeEncoder(clocked.library, mimi, *how, Precision.all(FORMATS[asked.codec]), asked.threads, isa)
    native = NativeLm(clocked.library, lm, *how, Precision.all(FORMATS[asked.dtype]), asked.threads, isa)
    fill(*native.heard, *codec._memory.rings.tensors)
    for batch in batches:
        for what, step in (
            (f"codec {asked.codec}", _codec_step(codec, batch, lm.config.n_q)),
            (f"LM {asked.dtype}", _lm_step(native, lm.config, batch)),
        ):
            parts = clocked.milliseconds(step)
            told = ", ".join(f"{name} {ms:.1f}" for name, ms in zip(PARTS, parts, strict=True) if ms >= 0.05)
            print(f"B={batch:<3} {what:15} {sum(parts):6.1f} ms: {told}", flush=True)


def _codec_step(codec: NativeEncoder, batch: int, codebooks: int) -> Callable[[], object]:
    rows, audio = Rows(range(batch)), torch.randn(batch, FRAME_SIZE) * 0.1

    def step() -> object:
        codec.position.fill_(FULL)
        return codec.encode(rows, audio, codebooks)

    return step


def _lm_step(native: NativeLm, config: LmConfig, batch: int) -> Callable[[], object]:
    rows, text = Rows(range(batch)), torch.zeros(batch, 1, dtype=torch.long)
    codes = torch.randint(config.card, (batch, 1, config.n_q))

    def step() -> object:
        native.position.fill_(FULL)
        return native.hear(rows, text, codes)

    return step


def _peaks(folder: Path) -> None:
    program = folder / "peaks"
    source = Path(__file__).parent / "peaks.cpp"
    subprocess.run(["c++", "-O3", "-march=native", "-pthread", str(source), "-o", str(program)], check=True)
    print(subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout, end="", flush=True)


if __name__ == "__main__":
    main()
