"""What a step costs on a GPU: the whole of it, the LM and the codec apart, beside the floor; and the peer's."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..engine.gpu.engine import GraphedEngine
from ..engine.gpu.graphs import Graphs
from ..engine.gpu.rows import AnyRows
from ..engine.gpu.sizes import page_bytes
from ..nn.lm import Lm
from ..nn.mimi import Mimi

Step = Callable[[], object]


@dataclass(frozen=True)
class Card:
    """What the device does at best, measured in the same run."""

    name: str
    bytes_per_second: float  # read and written by a large copy
    flop_per_second: float  # of a large matrix product in 16 bits

    @classmethod
    def measured(cls, device: torch.device) -> Card:
        cuda = device.type == "cuda"
        size, side = (1 << 30, 8192) if cuda else (1 << 22, 256)
        source = torch.randint(255, (size,), dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        one, other = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
        copy, product = (
            median_ms(device, step, 10) / 1e3 for step in (lambda: target.copy_(source), lambda: one @ other)
        )
        name = torch.cuda.get_device_name(device) if cuda else "CPU"
        return cls(name, 2 * size / copy, 2 * side**3 / product)


@dataclass(frozen=True)
class Floor:
    """A step must read the weights once and each stream's memory once, and do its products."""

    weights: int  # bytes
    memory: int  # bytes of a stream at the whole context
    codec_memory: int
    flop: float  # of a stream

    @classmethod
    def of(cls, mimi: Mimi, lm: Lm, kept: torch.dtype) -> Floor:
        parts = [mimi.encoder, mimi.encoder_transformer, mimi.downsample, mimi.quantizer]
        codec = sum(p.numel() * p.element_size() for part in parts for p in part.parameters())
        layers = [*lm.transformer.parameters(), *lm.transformer.buffers(), lm.text_head.weight, lm.extra_heads]
        config, codec_config = lm.transformer.config, mimi.encoder_transformer.config
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            mimi.encode(torch.zeros(1, mimi.config.frame_size, device=lm.embeddings.device), codebooks=lm.config.n_q)
        products = 2 * sum(p.numel() for p in layers) + 4 * config.context * config.dim * config.layers
        return cls(
            codec + sum(p.numel() * p.element_size() for p in layers),
            config.context * page_bytes(config, kept, 1),
            codec_config.context * page_bytes(codec_config, mimi.downsample.weight.dtype, 1),
            products + counter.get_total_flops(),
        )

    def ms(self, batch: int, share: float, card: Card) -> float:
        """`share` of the context is heard."""
        read = self.weights + batch * (share * self.memory + self.codec_memory)
        return 1e3 * (read / card.bytes_per_second + batch * self.flop / card.flop_per_second)


@dataclass(frozen=True)
class StepRow:
    """One batch size at one age of its streams. Milliseconds."""

    memory: str  # what keys and values are kept in
    context: int  # positions that every stream has heard
    batch: int
    p50: float  # of `step`, from frames to outputs
    p95: float
    apart: float  # a step when another is launched before it is read: host and device work side by side
    device: float  # the graph alone
    lm: float
    codec: float
    floor: float


def our_row(engine: GraphedEngine, batch: int, share: float, card: Card, floor: Floor, steps: int) -> StepRow | None:
    """Streams that have heard `share` of the context; None where their keys and values do not fit in the pages."""
    context = max(1, int(share * engine.lm.config.context))
    if not pretend(engine, batch, context):
        return None
    frames = noise(batch, engine.mimi.config.frame_size)
    p50, p95 = np.percentile(times_ms(lambda: engine.step(frames), steps), (50, 95)).tolist()
    apart, parts = _overlapped(engine, frames, steps), _parts(engine, batch, steps)
    dtype = str(engine.paged.memory.layers[0][0].dtype).removeprefix("torch.")
    return StepRow(dtype, context, batch, p50, p95, apart, *parts, floor.ms(batch, share, card))


def pretend(engine: GraphedEngine, batch: int, context: int) -> bool:
    """Streams in the first slots that have heard `context` positions of noise; False where pages do not suffice."""
    paged, codec = engine.paged, engine._codec.memory  # type: ignore[attr-defined]
    for slot in range(engine.slots):
        paged.pages.close(slot)
    engine._open = set(range(batch))
    page = paged.memory.page
    heard = np.arange(max(0, context - engine.lm.config.context + 1) // page, context // page + 2) * page
    if batch * max(len(heard), paged.pages._promise) > paged.pages.free:
        return False
    for slot in range(batch):
        paged.reset(slot)
        paged._reach(np.full(len(heard), slot), heard)
    paged._heard[:batch] = context
    paged.memory.position[:batch] = context
    codec.position[:batch] = 2 * engine.mimi.config.context
    return True


def fill(engine: GraphedEngine) -> None:
    """Noise for everything that is kept: zeros would be faster."""
    for memory in (engine.paged.memory, engine._codec.memory):  # type: ignore[attr-defined]
        for keys, values, *scales in memory.layers:
            for part in (keys, values):
                for page in part.split(4096):
                    page.copy_(torch.randn(page.shape, device=page.device))
            for scale in scales:
                scale.fill_(0.01)


def noise(batch: int, frame_size: int) -> dict[int, Any]:
    rng = np.random.default_rng(0)
    return {slot: (rng.standard_normal(frame_size) * 0.1).astype(np.float32) for slot in range(batch)}


def _overlapped(engine: GraphedEngine, frames: dict[int, Any], steps: int) -> float:
    """Milliseconds a step."""
    ticket = engine.begin(frames)
    begun = time.perf_counter()
    for _ in range(steps):
        following = engine.begin(frames)
        ticket.outputs()
        ticket = following
    taken = time.perf_counter() - begun
    ticket.outputs()
    return taken / steps * 1e3


def _parts(engine: GraphedEngine, batch: int, steps: int) -> tuple[float, float, float]:
    """Milliseconds of the step's graph, of the LM and of the codec, each by itself on the device."""
    graphs, device, config = engine._graphs, engine.device, engine.lm.config
    size = next(size for size in graphs.sizes if size >= batch)
    index = torch.arange(size, device=device)
    index[batch:] = engine.slots  # nobody's
    pages = torch.zeros(size, dtype=torch.int32, device=device)
    text = torch.zeros(size, 1, dtype=torch.long, device=device)
    codes = torch.randint(config.card, (size, 1, config.n_q), device=device)
    audio = torch.randn(size, engine.mimi.config.frame_size, device=device) * 0.1
    position = engine.paged.memory.position.clone()
    pages[:batch] = torch.from_numpy(engine.paged.next_pages(np.arange(batch))).to(device)
    rows = AnyRows(index, pages)

    @torch.inference_mode()
    def hear() -> Tensor:
        engine.paged.memory.position.copy_(position)
        return engine._hear(rows, text, codes)[0]

    @torch.inference_mode()
    def encode() -> Tensor:
        return engine._codec.encode(rows, audio, config.n_q)

    whole, lm, codec = (
        median_ms(device, step, min(steps, 8))
        for step in (partial(_without_grad, graphs.advance, size), _captured(graphs, hear), _captured(graphs, encode))
    )
    engine.paged.memory.position.copy_(position + 1)
    return whole, lm, codec


@torch.inference_mode()
def _without_grad(step: Callable[[int], object], size: int) -> None:
    step(size)


def _captured(graphs: Graphs, step: Step) -> Step:
    """`step`, whose kernels have all run before, as a graph in the same memory; as it is where nothing is captured."""
    if graphs.pool is None:
        return step
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=graphs.pool):
        step()
    return graph.replay


def median_ms(device: torch.device, step: Step, steps: int) -> float:
    """By events on a GPU, by the clock on a CPU; the first ones do not count."""
    if device.type != "cuda":
        return float(np.median(times_ms(step, steps)))
    for _ in range(2):
        step()
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(steps)]
    for begin, end in events:
        begin.record()
        step()
        end.record()
    torch.cuda.synchronize(device)
    return float(np.median([begin.elapsed_time(end) for begin, end in events]))


def times_ms(step: Step, steps: int) -> list[float]:
    """By the clock; the step must not return before it is done. The first does not count."""
    step()
    taken = list[float]()
    for _ in range(steps):
        begun = time.perf_counter()
        step()
        taken.append((time.perf_counter() - begun) * 1e3)
    return taken


def peer_ms(models: tuple[Any, Any], batch: int, device: torch.device, steps: int) -> tuple[float, float]:
    """`moshi`'s own streaming, audio to token: milliseconds of a whole step, and of its codec alone.

    It attends over its whole ring from the first step on, and captures graphs of its own.
    """
    from moshi.models.lm import LMGen

    mimi, lm = models
    generator = LMGen(lm, use_sampling=False, temp=0.0, temp_text=0.0)
    audio = torch.randn(batch, 1, 1920, device=device) * 0.1
    with ExitStack() as stack, torch.no_grad():
        stack.enter_context(mimi.streaming(batch))
        stack.enter_context(generator.streaming(batch))
        whole = median_ms(device, lambda: generator.step(mimi.encode(audio)), steps)
        return whole, median_ms(device, lambda: mimi.encode(audio), steps)
