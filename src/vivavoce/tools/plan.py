"""How many streams a machine carries: what they take of its memory, and what their steps take of 80 ms.

Memory is the engine's own arithmetic (`engine/gpu/sizes.py`), told from a model's sizes; weights need not be there.
On a GPU no plan goes beyond the fork's estimate, keys and values being kept in 16 bits. Step times are only those
that were measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from vivavoce.checkpoints import SttModel, load_stt
from vivavoce.checkpoints.assembly import torch_dtype
from vivavoce.checkpoints.model import SttConfig
from vivavoce.checkpoints.random import RANDOM, SHAPES
from vivavoce.core import CheckpointError, UnsupportedError
from vivavoce.engine import SttEngine
from vivavoce.engine.gpu.sizes import packed_bytes, slot_bytes, usable
from vivavoce.engine.gpu.support import FP8, OLDEST, PACKS
from vivavoce.nn.lm import Lm
from vivavoce.nn.mimi import Mimi
from vivavoce.runtime.cost import StepCost
from vivavoce.settings import HubSource, locate
from vivavoce.settings.paths import cached

from . import machine
from .fork_plan import ForkPlan, fork_plan
from .gpus import Gpu
from .measured import BUDGET, like

MIB = 1 << 20
MOST = 4096  # slots, of the setting
PROCESS = 240_000_000  # bytes of an engine's process with PyTorch in it and no model; measured
RELEASED = {"kyutai/stt-1b-en_fr": "stt-1b", "kyutai/stt-2.6b-en": "stt-2.6b"}  # and their other layouts


@dataclass(frozen=True)
class Steps:
    """Step times, and the largest number of streams whose step stays within the limit."""

    where: str
    threads: int
    milliseconds: Mapping[int, float]  # of a step, by the number of streams
    slots: int

    @classmethod
    def of(cls, where: str, threads: int, milliseconds: Mapping[int, float]) -> Steps:
        cost = StepCost()
        for batch, taken in milliseconds.items():
            cost.learn(batch, taken / 1000)
        return cls(where, threads, milliseconds, cost.largest(BUDGET / 1000, MOST))


@dataclass(frozen=True)
class Kept:
    """Keys and values in one precision."""

    dtype: str
    slot: int  # bytes of a stream
    slots: int  # that fit


@dataclass(frozen=True)
class Plan:
    """Bytes, and numbers of streams."""

    model: str
    where: str
    dtype: str  # of the weights
    free: int  # before anything is loaded
    weights: int  # of LM and codec; on a CPU at their most, while an engine packs them, with its process
    memory: tuple[Kept, ...]  # the first is what the engine takes where it has room for all slots
    fork: ForkPlan | None  # of a GPU
    steps: Steps | None  # None: nobody has measured this

    @property
    def slots(self) -> int:
        """To be taken: the least of what memory, the fork's estimate and the step allow; 0 where none fits."""
        most = [self.memory[0].slots, MOST]
        if self.fork is not None:
            most.append(0 if self.fork.critical and not self.memory[0].slots else self.fork.slots)
        if self.steps is not None:
            most.append(self.steps.slots)
        return min(most)

    @property
    def limit(self) -> str:
        """What it is that allows no more."""
        if self.steps is not None and self.steps.slots == self.slots:
            return "step"
        if self.memory[0].slots == self.slots:
            return "memory"
        return "fork" if self.slots < MOST else "server"


def sizes_of(source: str | None) -> SttModel:
    """A model without weights: only headers are read, and of the released ones nothing.

    Raises CheckpointError, DownloadError, UnsupportedError.
    """
    shape = shape_of(source)
    if shape is None:
        return load_stt(source, device="meta")
    mimi, lm = SHAPES[shape]
    with torch.device("meta"):
        networks = Mimi(mimi), Lm(lm).to(torch.float32 if shape == "embedded" else torch.bfloat16)
    return SttModel(SttConfig(str(source), 0.5), *networks, ())


def shape_of(source: str | None) -> str | None:
    """The shape that a name stands for; None: the model itself is on this disk. Raises CheckpointError if neither."""
    if source is None:
        return None
    if source.startswith(RANDOM):
        shape = source.removeprefix(RANDOM)
        if shape not in SHAPES:
            raise UnsupportedError(f"{source} is not one of {', '.join(RANDOM + name for name in SHAPES)}")
        return shape
    where = locate(source)
    if not isinstance(where, HubSource) or cached(where, "config.json").is_file():
        return None
    known = RELEASED.get(where.repository.removesuffix("-candle").removesuffix("-trfs"))
    if known is None:
        raise CheckpointError(
            f"{source} is not on this disk, and its sizes are not known: vivavoce model pull {source}"
        )
    return known


def on_gpu(model: SttModel, gpu: Gpu, dtype: str | None = None, **fork: Any) -> Plan:
    """`fork`: what is given to its estimate, in MiB and thousand millions. Raises UnsupportedError."""
    assert gpu.total is not None and gpu.free is not None, "a simulated GPU has no memory"
    weights, packed = torch_dtype(dtype, torch.device("cuda"))
    kept = weights or model.lm.embeddings.dtype
    if kept == torch.bfloat16 and gpu.pre_ampere:
        kept = torch.float16
    lm, frames = model.lm.to(kept), SttEngine.TOGETHER
    if packed and gpu.capability < PACKS:
        raise UnsupportedError(f"dtype {packed} needs compute capability {PACKS[0]}.{PACKS[1]}; {gpu.name} is {gpu.sm}")
    loaded = _bytes(model.mimi) + (packed_bytes(lm) if packed else _bytes(lm))
    room = usable(gpu.free - loaded)
    precisions = [kept, torch.float8_e4m3fn if gpu.capability >= FP8 else torch.int8]
    memory = tuple(_kept(room, name, slot_bytes(model.mimi, lm, frames, name)) for name in precisions)
    given = {"billions": sum(weight.numel() for weight in lm.parameters()) / 1e9, **fork}
    estimate = fork_plan(lm.config, gpu.total // MIB, gpu.free // MIB, bytes=kept.itemsize, **given)
    where = f"{gpu.name}, {gpu.sm}" + (", older than 7.0: stepped by PyTorch" if gpu.capability < OLDEST else "")
    return Plan(model.config.name, where, packed or _name(kept), gpu.free, loaded, memory, estimate, None)


def _kept(room: int, dtype: torch.dtype, slot: int) -> Kept:
    return Kept(_name(dtype), slot, max(0, room // slot))


def on_cpu(model: SttModel, source: str | None, dtype: str | None = None) -> Plan:
    """This machine's processor and memory, with the step times of the machine on which they were measured."""
    shape = shape_of(source) or ("embedded" if source is None else None)
    weights, packed = torch_dtype(dtype, torch.device("cpu"))
    kept = weights or (torch.float32 if shape == "embedded" else model.lm.embeddings.dtype)
    lm = model.lm.to(kept)
    name = packed or _name(kept)
    # An engine packs weights beside those that were loaded, all but the embeddings, and lets go of these then.
    packing = (_bytes(lm) - lm.embeddings.nbytes) * _share(name, kept)
    loaded = PROCESS + 2 * _bytes(model.mimi) + _bytes(lm) + int(packing)
    free = machine.memory().available
    slot = cpu_slot_bytes(model, name)
    memory = (Kept(name, slot, max(0, (free - loaded) // slot)),)
    here = machine.processor()
    kind = shape or "", name
    known = like(here.sets, kind)
    measured = Steps.of(known.name, *known.steps[kind]) if known else None
    return Plan(model.config.name, f"{here.name}, {here.cores} cores", name, free, loaded, memory, None, measured)


def cpu_slot_bytes(model: SttModel, dtype: str) -> int:
    """Of a stream in an engine on the CPU that has heard its whole context: rings, and what a call works in."""
    lm, mimi, frames = model.lm.config, model.mimi.config, SttEngine.TOGETHER
    number, scales = {"float32": (4.0, 0), "int8": (1.0, 2), "int4": (0.75, 3)}.get(dtype, (2.0, 0))
    position = int(2 * lm.dim * number) + lm.num_heads * scales * 4
    heard = lm.num_layers * (lm.context + frames) * position
    codec = 2 * mimi.encoder_layers * (mimi.context + 2 * frames) * mimi.dimension * 4
    work = frames * 4 * (mimi.frame_size * mimi.encoder_filters + 3 * lm.dim + 4 * lm.hidden)
    return heard + codec + work


def measure(model: SttModel, threads: int) -> Steps:
    """Step times here, of more and more streams until a step takes too long; `model` has weights. Takes a while."""
    from vivavoce.bench.step import own_steps

    torch.set_num_threads(threads)
    milliseconds = dict[int, float]()
    for batch, taken in own_steps(model.mimi, model.lm, model.packed, (2**power for power in range(9))):
        milliseconds[batch] = taken
        if taken > BUDGET:
            break
    return Steps.of("this machine", threads, milliseconds)


def measured(plan: Plan, steps: Steps) -> Plan:
    return replace(plan, steps=steps)


def _share(name: str, kept: torch.dtype) -> float:
    """Bytes of packed weights to those that were loaded."""
    return {"int8": 1.0, "int4": 0.5}.get(name, kept.itemsize) / kept.itemsize


def _bytes(module: torch.nn.Module) -> int:
    return sum(weight.nbytes for weight in module.parameters())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
