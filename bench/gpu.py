"""Everything that is to be known of the GPU's path, in one call of less than ten minutes: is it right, and how fast?

    python bench/gpu.py --out DIR                        # on a GPU: the 1B shape, up to 2,048 streams
    python bench/gpu.py --prepare speech.npy             # where FLAC can be decoded: what --speech then reads
    TRITON_INTERPRET=1 python bench/gpu.py --tiny --out DIR      # without a GPU: that the script itself is right

1. Parity with the PyTorch path: fp32 token for token, then 16 and 8 bits over 500 steps of the embedded model.
2. Steps at B = 1, 16, … 2,048, at full and quarter context, keys and values in 16 and 8 bits: whole, LM, codec, floor;
   a profile of the largest; packed weights and a codec in 16 bits.
3. The peer, `moshi`'s own streaming, on the same card and weights.
4. The attention kernel and the products of packed weights in other shapes.

Writes gpu.json and gpu.md to the folder after every row, so that a run that is cut short has told what it knows; what
matters most comes first.
Needs Triton and numpy, safetensors, sentencepiece; for the peer also moshi and einops.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import numpy as np
import torch
import triton

from vivavoce.bench.gpu_parity import logit_errors, parity, weights_of
from vivavoce.bench.gpu_steps import Card, Floor, fill, median_ms, our_row, peer_ms, pretend
from vivavoce.bench.step import moshi_models
from vivavoce.checkpoints import load_stt
from vivavoce.checkpoints.random import SHAPES, noisy
from vivavoce.core import VivavoceError
from vivavoce.engine.gpu.engine import GraphedEngine
from vivavoce.engine.gpu.kernels import attention
from vivavoce.engine.gpu.kernels.product import TILES, WIDEST, Tile, product
from vivavoce.engine.gpu.packed import PackedLinear, pack
from vivavoce.engine.gpu.support import eight_bit
from vivavoce.nn.lm import Lm
from vivavoce.nn.mimi import Mimi

EXAMPLE = Path(__file__).parents[1] / "examples" / "digits.flac"
BATCHES = (1, 16, 64, 256, 512, 1024, 1536, 2048)


@dataclass
class Plan:
    """What is measured."""

    device: torch.device
    batches: Sequence[int]
    shares: Sequence[float]  # of the context
    steps: int
    parity_steps: int
    models: Callable[[torch.dtype], tuple[Mimi, Lm]]
    parity_models: Callable[[torch.dtype], tuple[Mimi, Lm]]
    shapes: Sequence[tuple[int, int]]  # of the attention kernel: positions at once, warps
    tiles: Sequence[Tile] = (*(tile for _, tile in TILES), (16, 32, 256, 4), (64, 64, 128, 4), WIDEST)

    @classmethod
    def usual(cls, batches: Sequence[int]) -> Plan:
        shapes = [(16, 1), (16, 2), (32, 1), (32, 2), (32, 4), (64, 2), (64, 4), (64, 8), (128, 4), (128, 8)]
        return cls(torch.device("cuda"), batches, (1.0, 0.25), 30, 500, released, embedded, shapes)

    @classmethod
    def tiny(cls) -> Plan:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return cls(device, (1, 2), (1.0,), 1, 3, very_small, very_small, [(16, 1)], [(16, 16, 16, 1)])


@dataclass
class Told:
    """What is known so far."""

    folder: Path
    until: float  # on the monotonic clock
    parts: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    only: Sequence[str] = ()  # the parts that are wanted; none named: all

    def measure(self, name: str, part: Callable[[], Iterator[Any]]) -> None:
        """Keep what a part yields, until it ends, fails or the time is over; a fault ends only that part."""
        if self.only and name not in self.only:
            return
        if time.monotonic() > self.until:
            self.faults.append(f"{name}: not begun, the time was over")
            return
        rows = self.parts.setdefault(name, [])
        begun = time.monotonic()
        try:
            for row in part():
                rows.append(dataclasses.asdict(row) if dataclasses.is_dataclass(row) else row)
                print(f"[{time.monotonic() - begun:6.1f} s] {name}: {rows[-1]}", flush=True)
                self.write()  # whoever ends this process asks nobody
                if time.monotonic() > self.until:
                    self.faults.append(f"{name}: cut short, the time was over")
                    break
        except Exception as error:  # whatever it is, the other parts are worth having
            traceback.print_exc()
            self.faults.append(f"{name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        self.write()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        everything = {**self.parts, "faults": self.faults}
        (self.folder / "gpu.json").write_text(json.dumps(everything, indent=1))
        tables = [table(name, rows) for name, rows in self.parts.items() if rows]
        faults = ["## Not measured", *(f"- {fault}" for fault in self.faults)] if self.faults else []
        (self.folder / "gpu.md").write_text("\n\n".join([*tables, "\n".join(faults)]) + "\n")


def table(name: str, rows: Sequence[dict[str, Any]]) -> str:
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([_cell(row.get(head)) for head in heads] for row in rows)]
    return "\n".join([f"## {name}", "", *("| " + " | ".join(line) + " |" for line in lines)])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "" if value is None else str(value)


def released(dtype: torch.dtype) -> tuple[Mimi, Lm]:
    return networks(*SHAPES["stt-1b"], dtype)


def embedded(dtype: torch.dtype) -> tuple[Mimi, Lm]:
    model = load_stt(device="cpu", dtype=str(dtype).removeprefix("torch."))
    return model.mimi, model.lm


def very_small(dtype: torch.dtype) -> tuple[Mimi, Lm]:
    mimi, lm = SHAPES["embedded"]
    mimi = replace(mimi, encoder_filters=2, decoder_filters=2, encoder_layers=1, decoder_layers=1, context=8)
    mimi = replace(mimi, dimension=16, hidden=16, heads=1, codebooks=2, bins=32, codebook_dim=16)
    lm = replace(lm, dim=16, num_heads=1, num_layers=1, hidden=16, n_q=2, card=32, context=8)
    return networks(mimi, lm, dtype)


def networks(mimi_config: Any, lm_config: Any, dtype: torch.dtype) -> tuple[Mimi, Lm]:
    """Noise for weights, as they are and on the CPU."""
    with torch.device("meta"):
        mimi, lm = Mimi(mimi_config), Lm(lm_config).to(dtype)
    return noisy(mimi), noisy(lm)


def machine(plan: Plan) -> Iterator[Any]:
    versions = {"torch": torch.__version__, "triton": triton.__version__, "cuda": torch.version.cuda}
    cards = {}
    if plan.device.type == "cuda":
        properties = torch.cuda.get_device_properties(plan.device)
        cards = {"processors": properties.multi_processor_count, "gib": properties.total_memory / 2**30}
    yield {**dataclasses.asdict(Card.measured(plan.device)), **versions, **cards}


def sixteen_bits(device: torch.device) -> torch.dtype:
    old = device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0)
    return torch.float16 if old else torch.bfloat16


def eight(device: torch.device) -> torch.dtype:
    return eight_bit(device) if device.type == "cuda" else torch.int8


def whether_it_is_right(plan: Plan, speech: np.ndarray[Any, Any]) -> Iterator[Any]:
    """The first row must be the same token for token; the others say how much of it a precision keeps."""
    run = partial(parity, frames=speech, steps=plan.parity_steps, capture=plan.device.type == "cuda")
    half = sixteen_bits(plan.device)
    with exact_products():
        mimi, lm = (network.to(plan.device) for network in plan.parity_models(torch.float32))
        rounded = plan.parity_models(half)[1].to(plan.device)
        yield run(mimi, lm)
        yield run(mimi, rounded)
        yield run(mimi, rounded, reference=lm)
        run = partial(run, steps=plan.parity_steps * 2 // 5)  # enough for what is a choice and no fault
        pack(rounded)
        yield run(mimi, rounded, reference=lm)
        for memory in dict.fromkeys((torch.int8, eight(plan.device))):
            yield run(mimi, lm, memory=memory)
    for codec in dict.fromkeys((None, half, torch.float16)):  # with the products as they are used
        yield run(mimi, lm, codec=codec)


def how_exact(plan: Plan) -> Iterator[Any]:
    """Relative error of the logits of the measured shape, with the whole context heard, to fp32."""
    lm = plan.models(sixteen_bits(plan.device))[1].to(plan.device)
    exact = copy.deepcopy(lm).float()
    for _ in range(2):
        errors = logit_errors(lm, exact, [None, *{torch.int8, eight(plan.device)}], lm.config.context)
        yield {"weights": weights_of(lm), **errors}
        pack(lm)


class exact_products:  # noqa: N801
    """No tf32 meanwhile."""

    def __enter__(self) -> None:
        self.before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    def __exit__(self, *_: object) -> None:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = self.before


def steps(
    plan: Plan,
    card: Card,
    memory: torch.dtype,
    *,
    codec: torch.dtype | None = None,
    packed: bool = False,
    shares: Sequence[float] | None = None,
    profile: Path | None = None,
) -> Iterator[Any]:
    """One engine of as many slots as the largest batch; the profile is of the largest with the whole context heard."""
    dtype = sixteen_bits(plan.device)
    mimi, lm = (network.to(plan.device) for network in plan.models(dtype))
    if packed:
        pack(lm)
    begun = time.perf_counter()
    engine = largest_engine(plan, mimi, lm, memory, codec)
    print(f"an engine of {engine.slots} slots in {memory}: {time.perf_counter() - begun:.1f} s", flush=True)
    floor = Floor.of(mimi, lm, memory)
    kinds = {"weights": weights_of(lm), "codec in": str(codec or torch.float32).removeprefix("torch.")}
    for share in shares or plan.shares:
        measured = 0
        for batch in (batch for batch in plan.batches if batch <= engine.slots):
            try:
                row = our_row(engine, batch, share, card, floor, plan.steps)
            except torch.OutOfMemoryError as error:
                row = None
                print(f"{batch} streams: {str(error).splitlines()[0]}", flush=True)
            if row:
                measured = batch
                yield {**kinds, **dataclasses.asdict(row), "over floor": row.p50 / row.floor}
        if profile and measured and not profile.exists():
            write_profile(engine, measured, profile)


def largest_engine(plan: Plan, mimi: Mimi, lm: Lm, memory: torch.dtype, codec: torch.dtype | None) -> GraphedEngine:
    """For the largest batch for which there is memory, with noise for what was heard."""
    for slots in sorted(plan.batches, reverse=True):
        try:
            capture = plan.device.type == "cuda"
            engine = GraphedEngine(mimi, lm, slots, memory=memory, codec=codec, capture=capture)
            fill(engine)
            return engine
        except (torch.OutOfMemoryError, VivavoceError) as error:
            print(f"{slots} slots in {memory}: {str(error).splitlines()[0]}", flush=True)
        gc.collect()
        torch.cuda.empty_cache()
    raise RuntimeError("there is no memory even for the smallest batch")


def write_profile(engine: GraphedEngine, batch: int, path: Path) -> None:
    """Where the time of a step of the largest batch goes, kernel by kernel."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    from vivavoce.bench.gpu_steps import noise

    assert pretend(engine, batch, engine.lm.config.context) or pretend(engine, batch, 1)
    frames, cuda = noise(batch, engine.mimi.config.frame_size), engine.device.type == "cuda"
    engine.step(frames)
    with profiled(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as profiler:
        for _ in range(3 if cuda else 1):
            engine.step(frames)
    key = "self_cuda_time_total" if cuda else "self_cpu_time_total"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(profiler.key_averages().table(sort_by=key, row_limit=40, max_name_column_width=100))


def peers(plan: Plan, batches: Sequence[int], compiled: bool) -> Iterator[Any]:
    """torch.compile takes the peer a minute for one batch size, so it is a row of its own."""
    os.environ["NO_TORCH_COMPILE"] = ""  # read when moshi is imported; empty: what it compiles may be switched
    theirs = moshi_models(*plan.models(sixteen_bits(plan.device)), str(plan.device))
    from moshi.utils.compile import no_compile

    for batch in batches:
        with nullcontext() if compiled else no_compile():
            row = peer(plan, theirs, batch)
        yield row
        if row["step"] is None:
            break


def peer(plan: Plan, models: tuple[Any, Any], batch: int) -> dict[str, Any]:
    try:
        whole, codec = peer_ms(models, batch, plan.device, min(plan.steps, 20))
    except torch.OutOfMemoryError as error:
        return {"batch": batch, "step": None, "codec": None, "note": str(error).split(".")[0]}
    return {"batch": batch, "step": whole, "codec": codec, "note": ""}


def attention_shapes(plan: Plan, card: Card) -> Iterator[Any]:
    """Which BLOCK and WARPS read keys and values fastest, for few rows and for many."""
    dtype = sixteen_bits(plan.device)
    mimi, lm = (network.to(plan.device) for network in plan.models(dtype))
    context, most = lm.config.context, min(512, max(plan.batches))
    for memory in dict.fromkeys((dtype, torch.int8, eight(plan.device))):
        engine = GraphedEngine(mimi, lm, most, memory=memory, capture=False)
        fill(engine)
        for batch in sorted({min(16, most), most}):
            assert pretend(engine, batch, context)
            kept, paged = engine.paged.memory.layers[0], engine.paged.memory
            slots = torch.arange(batch, device=plan.device)
            query = torch.randn(batch, lm.config.dim, device=plan.device).to(dtype)
            positions, splits = paged.position[:batch] - 1, paged._splits(batch)
            for block, warps in plan.shapes:
                attend = partial(
                    attention.attend, query, kept, paged.table, slots, positions, paged.oldest, context, splits,
                    block, warps,
                )  # fmt: skip
                ms = median_ms(plan.device, attend, plan.steps)
                read = batch * context * 2 * lm.config.dim * memory.itemsize
                share = read / ms * 1e3 / card.bytes_per_second
                yield {
                    "memory": str(memory),
                    "batch": batch,
                    "block": block,
                    "warps": warps,
                    "ms": ms,
                    "of copy": share,
                }
        del engine, kept, paged


def product_shapes(plan: Plan) -> Iterator[Any]:
    """Which tile multiplies the packed weights of one layer fastest, and how long 16 bits take without."""
    dtype = sixteen_bits(plan.device)
    layer = plan.models(dtype)[1].to(plan.device).transformer.layers[0]
    wide = [part for part in layer.modules() if isinstance(part, torch.nn.Linear)]
    narrow = [PackedLinear(part) for part in wide]
    for rows in sorted({min(rows, max(plan.batches)) for rows in (1, 16, 64, 256, 1024, 2048)}):
        given = [torch.randn(rows, part.in_features, device=plan.device).to(dtype) for part in wide]

        @torch.inference_mode()
        def plain(given: Sequence[torch.Tensor] = given) -> None:
            for part, x in zip(wide, given, strict=True):
                part(x)

        def packed(tile: Any, given: Sequence[torch.Tensor] = given) -> None:
            for part, x in zip(narrow, given, strict=True):
                product(x, part.weight, part.scale, tile)

        full = median_ms(plan.device, plain, plan.steps)
        for tile in plan.tiles:
            ms = median_ms(plan.device, partial(packed, tile), plan.steps)
            yield {"rows": rows, "tile": str(tile), "ms": ms, "16 bits": full}


def frames_of(speech: Path | None) -> np.ndarray[Any, Any]:
    """float32 [n, 1920]."""
    if speech is None:
        from vivavoce.audio import load

        samples = load(EXAMPLE)
    else:
        samples = np.load(speech).astype(np.float32)
    return np.asarray(samples[: len(samples) // 1920 * 1920].reshape(-1, 1920))


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--out", type=Path, default=Path("gpu"), help="folder for gpu.json, gpu.md and profile.txt")
    arguments.add_argument("--batch", default=",".join(map(str, BATCHES)), help="batch sizes")
    arguments.add_argument("--seconds", type=float, default=540, help="begin nothing new after this long")
    arguments.add_argument("--speech", type=Path, help="samples as --prepare writes them, where FLAC cannot be decoded")
    arguments.add_argument("--prepare", type=Path, help="only write the example's samples to this file")
    arguments.add_argument("--part", action="append", help="only this part, as gpu.md calls it; may be repeated")
    arguments.add_argument("--tiny", action="store_true", help="very small networks and two steps, also without a GPU")
    given = arguments.parse_args()
    if given.prepare:
        np.save(given.prepare, frames_of(None).reshape(-1).astype(np.float16))
        return 0
    plan = Plan.tiny() if given.tiny else Plan.usual([int(batch) for batch in given.batch.split(",")])
    told = Told(given.out, time.monotonic() + given.seconds, only=given.part and ["Machine", *given.part])
    speech = frames_of(given.speech)
    told.measure("Machine", lambda: machine(plan))
    told.measure("Parity", lambda: whether_it_is_right(plan, speech))
    card = Card(*(told.parts["Machine"][0][name] for name in ("name", "bytes_per_second", "flop_per_second")))
    half, small = sixteen_bits(plan.device), eight(plan.device)
    profile = given.out / "profile.txt"
    profile.unlink(missing_ok=True)
    told.measure("Steps, 8 bits", lambda: steps(plan, card, small, profile=profile))
    told.measure("Peer", lambda: peers(plan, plan.batches, compiled=False))
    told.measure("Steps, 16 bits", lambda: steps(plan, card, half))
    full = plan.shares[:1]
    told.measure("Steps, packed weights", lambda: steps(plan, card, small, packed=True, shares=full))
    told.measure("Steps, codec in fp16", lambda: steps(plan, card, small, codec=torch.float16, shares=full))
    told.measure("Logits", lambda: how_exact(plan))
    told.measure("Products", lambda: product_shapes(plan))
    told.measure("Attention", lambda: attention_shapes(plan, card))
    if plan.device.type == "cuda":
        told.measure("Peer, compiled", lambda: peers(plan, [64], compiled=True))
    print((given.out / "gpu.md").read_text())
    exact = all(row["tokens"] == row["steps"] for row in told.parts.get("Parity", [])[:1])
    return 0 if exact and not told.faults else 1


if __name__ == "__main__":
    raise SystemExit(main())
