"""The LM step alone: PyTorch, the native kernels in every format, `moshi` in fp32 and bf16, on the same weights."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ..checkpoints.random import SHAPES as STT_SHAPES
from ..checkpoints.random import random_models
from ..core import UnsupportedError
from ..engine.kernels.library import library
from ..engine.kernels.lm import NativeLm, Precision
from ..engine.kernels.packing import Format
from ..engine.stepper import PlainLm, Stepper
from ..nn.lm import Lm
from ..nn.rows import Rows
from .peer import fill, fill_rings
from .step import moshi_models

__all__ = ["FORMATS", "STT_SHAPES", "LmRow", "compare_lm"]

Step = Callable[[], object]
FORMATS = {
    "pytorch": None,  # in the model's dtype
    **{kind.name.lower(): Precision.all(kind) for kind in Format},
}
STREAMS = 8  # whose logits are compared
PEERS = {"moshi float32": torch.float32, "moshi bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class LmRow:
    """One way to step, at one batch size."""

    way: str
    batch: int
    ms: float  # median
    cpu_ms: float  # median processor time of the whole process, all threads
    peer_ms: float | None = None  # the faster one of the peer's

    @property
    def ratio(self) -> float | None:
        """To the faster of the peer's; below one is faster."""
        return self.ms / self.peer_ms if self.peer_ms else None


@dataclass(frozen=True)
class LogitsRow:
    """How far one way's text logits are from those of fp32 weights in PyTorch."""

    way: str
    error: float  # norm of the difference / norm
    top1: float  # share of steps with the same likeliest token


def compare_lm(
    shape: str, batches: Sequence[int], ways: Sequence[str], *, threads: int, peer: bool = True, steps: int = 15
) -> Iterator[LmRow]:
    """Steps at full context. The peer's rows come first. Raises UnsupportedError where nothing can be compiled."""
    dtype = torch.float32 if shape == "embedded" else torch.bfloat16
    best = dict[int, float]()
    for name, theirs in PEERS.items() if peer else ():
        reference = moshi_models(*random_models(shape, theirs))[1]
        for batch in batches:
            with ExitStack() as stack:
                row = LmRow(name, batch, *_medians(_their_step(reference, batch, stack), steps))
            best[batch] = min(best.get(batch, row.ms), row.ms)
            yield row
        del reference
        gc.collect()
    lm = random_models(shape, dtype)[1]
    for way in ways:
        stepper = _stepper(lm, way, max(batches), threads)
        torch.set_num_threads(1 if FORMATS[way] else threads)  # as engine/pool.py has it
        for batch in batches:
            yield LmRow(way, batch, *_medians(_our_step(lm, stepper, batch), steps), best.get(batch))
        torch.set_num_threads(threads)
        del stepper
        gc.collect()


def compare_logits(shape: str, ways: Sequence[str], positions: int = 24) -> Iterator[LogitsRow]:
    """Every way hears the same random codes and text, one step after the other; the errors of its logits."""
    exact = random_models(shape, torch.float32)[1]
    expected = _logits(exact, "pytorch", positions)
    del exact
    gc.collect()
    lm = random_models(shape, torch.float32 if shape == "embedded" else torch.bfloat16)[1]
    for way in ways:
        logits = _logits(lm, way, positions)
        error = float((logits - expected).norm() / expected.norm())
        yield LogitsRow(way, error, float((logits.argmax(-1) == expected.argmax(-1)).float().mean()))
        gc.collect()


@torch.inference_mode()
def _logits(lm: Lm, way: str, positions: int) -> torch.Tensor:
    """float32 [positions * STREAMS, text_card_out]."""
    stepper = _stepper(lm, way, STREAMS, torch.get_num_threads())
    rows, random = Rows(range(STREAMS)), torch.Generator().manual_seed(1)
    for slot in range(STREAMS):
        stepper.reset(slot)
    heard = []
    for _ in range(positions):
        text = torch.randint(lm.config.text_card, (STREAMS, 1), generator=random)
        codes = torch.randint(lm.config.card, (STREAMS, 1, lm.config.n_q), generator=random)
        heard.append(stepper.hear(rows, text, codes)[0].float().flatten(0, 1).clone())
    return torch.cat(heard)


def _stepper(lm: Lm, way: str, slots: int, threads: int) -> Stepper:
    precision = FORMATS[way]
    if precision is None:
        plain = PlainLm(lm, slots, 1)
        for ring in plain._state.rings:
            fill(ring.keys, ring.values)
        return plain
    kernels = library()
    if kernels is None:
        raise UnsupportedError("there are no native kernels to measure: no C++ compiler")
    native = NativeLm(kernels, lm, slots, 1, precision, threads)
    fill(*native.heard)
    return native


def _our_step(lm: Lm, stepper: Stepper, batch: int) -> Step:
    config, rows = lm.config, Rows(range(batch))
    text = torch.zeros(batch, 1, dtype=torch.long)
    codes = torch.randint(config.card, (batch, 1, config.n_q))

    @torch.inference_mode()
    def step() -> object:
        stepper.position.fill_(config.context)  # full context, whatever was heard
        return stepper.answer(rows, text, codes)

    return step


def _their_step(lm: Any, batch: int, stack: ExitStack) -> Step:
    """The reference always attends over its whole ring: its cost is that of full context from the first step."""
    from moshi.models.lm import LMGen

    generator = LMGen(lm, use_sampling=False, temp=0.0, temp_text=0.0)
    stack.enter_context(generator.streaming(batch))
    stack.enter_context(torch.no_grad())
    fill_rings(lm)
    codes = torch.randint(lm.card, (batch, lm.num_codebooks - 1, 1))
    return partial(_without_grad, generator.step, codes)


@torch.no_grad()
def _without_grad(step: Callable[[Any], object], codes: torch.Tensor) -> object:
    return step(codes)


def _medians(step: Step, steps: int) -> tuple[float, float]:
    for _ in range(3):
        step()
    wall, cpu = list[float](), list[float]()
    for _ in range(steps):
        before = time.perf_counter(), time.process_time()
        step()
        wall.append(time.perf_counter() - before[0])
        cpu.append(time.process_time() - before[1])
    return statistics.median(wall) * 1e3, statistics.median(cpu) * 1e3
