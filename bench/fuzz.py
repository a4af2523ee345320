"""A million inputs for the decoders of the server: all that reads what a caller sends.

    python bench/fuzz.py --inputs 1000000          # seeds with random damage, all decoders by their shares
    python bench/fuzz.py --atheris "Ogg/Opus" -runs=100000     # guided by coverage; needs `pip install atheris`

Every input must mean something or be refused in one line. Prints a table: inputs, crashes, the slowest input (processor
time), and by how much the process's memory grew from a tenth of the inputs to the last. Exit code 1 for a crash, whose
bytes are written to --keep, and for an input that took longer than 2 s.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import logging
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))  # the decoders and their seeds are those of the tests

from tests.fuzz.decoders import Decoder, decoders
from tests.fuzz.mutate import mutated

from vivavoce.server.memory import give_back_large_blocks

HANG = 2.0  # seconds of processor time for one input of at most 4 KB


@dataclass
class Run:
    """What one decoder did with its inputs."""

    name: str
    inputs: int
    crashes: dict[str, bytes] = field(default_factory=dict)  # by kind and place, the first input of each
    slowest: float = 0.0  # seconds of processor time
    seconds: float = 0.0
    grown: float = 0.0  # MB

    def row(self) -> str:
        speed = self.inputs / self.seconds
        cells = (
            f"{self.inputs:,}",
            len(self.crashes),
            f"{1e3 * self.slowest:.1f} ms",
            f"{self.grown:+.1f} MB",
            f"{speed:,.0f}",
        )
        return f"| {self.name} | " + " | ".join(map(str, cells)) + " |"


def fuzz(name: str, decoder: Decoder, inputs: int, seed: int) -> Run:
    run, draw, process = Run(name, inputs), random.Random(f"{name} {seed}"), psutil.Process()
    began, early = time.monotonic(), 0
    for number in range(inputs):
        if number == inputs // 10:
            gc.collect()
            early = process.memory_info().rss
        data = mutated(draw, decoder.seeds)
        before = time.process_time()
        try:
            decoder.target(data)
        except Exception as error:  # of any kind: that is what is looked for
            run.crashes.setdefault(place(error), data)
        run.slowest = max(run.slowest, time.process_time() - before)
    gc.collect()
    run.grown = (process.memory_info().rss - early) / 1e6
    run.seconds = time.monotonic() - began
    return run


def place(error: Exception) -> str:
    """The kind of a crash, and where it was."""
    at = error.__traceback__
    while at and at.tb_next:
        at = at.tb_next
    where = f"{Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}" if at else "nowhere"
    return f"{type(error).__name__} at {where}: {str(error)[:80]}"


def with_atheris(name: str, arguments: list[str]) -> None:
    """Guided by the coverage of Python code; never returns."""
    import atheris

    decoder = decoders()[name]
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(decoder.seeds):
            Path(corpus, str(number)).write_bytes(seed)
        for function in gc.get_objects():  # ours: all that is loaded would take minutes
            if isinstance(function, FunctionType) and str(function.__module__).startswith("vivavoce"):
                atheris.instrument_func(function)
        atheris.Setup([sys.argv[0], "-max_len=4096", f"-timeout={HANG:.0f}", *arguments, corpus], decoder.target)
        atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all decoders together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("runs"), help="folder for inputs that crash")
    parser.add_argument("--atheris", choices=sorted(decoders()), help="this decoder alone, the rest is libFuzzer's")
    options, rest = parser.parse_known_args()
    logging.disable(logging.WARNING)  # damaged recordings are warned of
    give_back_large_blocks()  # as the server does
    if options.atheris:
        with_atheris(options.atheris, rest)
    print(
        "| decoder | inputs | crashes | slowest input | memory | inputs a second |\n|---|---|---|---|---|---|",
        flush=True,
    )
    runs = []
    for name, decoder in decoders().items():
        runs.append(fuzz(name, decoder, round(options.inputs * decoder.share), options.seed))
        print(runs[-1].row(), flush=True)
    for run in runs:
        for crash, data in run.crashes.items():
            options.keep.mkdir(exist_ok=True)
            path = options.keep / f"crash-{hashlib.sha1(data).hexdigest()[:12]}"
            path.write_bytes(data)
            print(f"{run.name}: {crash}, input in {path}")
    return int(any(run.crashes or run.slowest > HANG for run in runs))


if __name__ == "__main__":
    sys.exit(main())
