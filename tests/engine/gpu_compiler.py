"""Compiles, without a GPU, every kernel that an engine of a released shape launches, for one compute capability.

    python -m tests.engine.gpu_compiler 90

Launches do nothing, so what the engine says means nothing. Prints a line a kernel: its name, the registers that a
thread takes, the bytes that it spills, and the bytes of shared memory that a program takes.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from vivavoce.checkpoints.random import SHAPES, noisy
from vivavoce.engine.gpu import codec as codec_module
from vivavoce.engine.gpu.engine import GraphedEngine
from vivavoce.engine.gpu.packed import PackedLinear, pack
from vivavoce.engine.gpu.support import PACKS
from vivavoce.nn.lm import Lm
from vivavoce.nn.mimi import Mimi

COMPILED: dict[str, Any] = {}


def compile_only(capability: int) -> None:
    """From now on a launch compiles and does no more."""
    driver = Mock(get_current_device=lambda: 0, get_current_stream=lambda _: 0)
    driver.get_current_target = lambda: GPUTarget("cuda", capability, 32)
    triton.runtime.driver.set_active(driver)
    run = JITFunction.run

    def compiled(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        kernel = run(self, *args, grid=grid, warmup=True, **kwargs)
        COMPILED[f"{self.__name__} {kernel.hash[:8]}"] = kernel
        return kernel

    JITFunction.run = compiled


def resources(kernel: Any) -> tuple[int, int, int]:
    """Registers, spilled bytes, shared bytes: as `cuobjdump` reads them from the machine code."""
    tool = next(Path(triton.__file__).parent.rglob("bin/cuobjdump"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(kernel.asm["cubin"])
        told = subprocess.run([tool, "--dump-resource-usage", path], capture_output=True, text=True, check=True).stdout
    registers, stack = (int(re.search(rf"{name}:(\d+)", told)[1]) for name in ("REG", "STACK"))  # type: ignore[index]
    return registers, stack, kernel.metadata.shared


def main(capability: int) -> None:
    compile_only(capability)
    mimi_config, lm_config = SHAPES["stt-1b"]
    with torch.device("meta"):
        networks = Mimi(replace(mimi_config, encoder_layers=1, decoder_layers=0)), Lm(replace(lm_config, num_layers=1))
    mimi, lm = noisy(networks[0]), noisy(networks[1]).to(torch.float16 if capability < 80 else torch.bfloat16)
    kept = [torch.int8, *([torch.float8_e4m3fn] if capability >= 89 else []), None]
    codec_module.precision_of = lambda _: "tf32x3" if capability >= 80 else "ieee"
    frame = np.zeros(mimi.config.frame_size, np.float32)
    for memory in kept:
        for programs in (0, 4096):  # whole rows, and rows in parts
            engine = GraphedEngine(mimi, lm, 2, memory=memory, codec=lm.embeddings.dtype, capture=False)
            for part in (engine.paged.memory, engine._codec.memory):  # type: ignore[attr-defined]
                part._programs = programs
            engine.open(0)
            engine.step({0: frame})
            engine.catch_up({0: np.stack([frame] * 3)})
    if capability >= PACKS[0] * 10:
        pack(lm)
    for rows in (1, 64, 256, 512):  # one of each tile
        for part in lm.modules():
            if isinstance(part, PackedLinear):
                part(torch.zeros(rows, part.weight.shape[1], dtype=lm.embeddings.dtype))
    for name, kernel in sorted(COMPILED.items()):
        print(name, *resources(kernel))


if __name__ == "__main__":
    main(int(sys.argv[1]))
