"""Step time of the engine against `moshi`'s own batched streaming, on the same random weights, in one run."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checkpoints import SttConfig, SttModel, save_stt
from ..checkpoints.assembly import PACKED
from ..checkpoints.random import SHAPES as STT_SHAPES
from ..checkpoints.random import random_models
from ..checkpoints.random_tts import TTS_SHAPES
from ..core import FRAME_SIZE
from ..engine import SttEngine
from ..engine.pool import step_at_rest
from ..nn.lm import Lm
from ..nn.mimi import Mimi
from .peer import moshi_info as moshi_info
from .step_tts import speaking_steps

SHAPES = (*STT_SHAPES, *TTS_SHAPES)
SETTLE = 0.02  # seconds before a step, in which the threads of the other's PyTorch give up waiting for more
Step = Callable[[], object]
OurStep = Callable[[int], Step]  # for a batch size
TheirStep = Callable[[int, ExitStack], Step]


@dataclass(frozen=True)
class Row:
    """One batch size: medians, and the frame that 95 % of ours do not exceed."""

    batch: int
    ours_ms: float
    ours_p95_ms: float
    peer_ms: float | None

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's; below one is faster."""
        return self.ours_ms / self.peer_ms if self.peer_ms else None


def compare(shape: str, batches: Sequence[int], dtype: str, peer: bool = True, steps: int = 9) -> Iterator[Row]:
    """Whole frames (codec and LM), every stream at full context; ours and the peer's in turn, so that a busy machine
    disturbs both alike. Shapes that speak are sampled at their temperatures, with a voice where they take one.
    Packed formats, "int8" and "int4", are ours; the peer then has the bfloat16 weights that they were made from."""
    packed = dtype if dtype in PACKED else None
    weights = torch.bfloat16 if packed else getattr(torch, dtype)
    our_step, their_step = (speaking_steps if shape in TTS_SHAPES else _hearing_steps)(shape, weights, packed, peer)
    for batch in batches:
        ours = our_step(batch)
        with ExitStack() as stack:
            theirs = their_step(batch, stack) if their_step else None
            mine, others = _times(ours, theirs, steps)
            median = statistics.median(others) if others else None
            yield Row(batch, statistics.median(mine), float(np.percentile(mine, 95)), median)
        del ours, theirs
        gc.collect()


def _hearing_steps(shape: str, dtype: torch.dtype, packed: str | None, peer: bool) -> tuple[OurStep, TheirStep | None]:
    mimi, lm = random_models(shape, dtype)
    ours = partial(_our_step, mimi, lm, packed)
    return ours, partial(_their_step, moshi_models(mimi, lm)) if peer else None


def _times(ours: Step, theirs: Step | None, steps: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each."""
    for warm_up in (ours, theirs):
        for _ in range(2):
            if warm_up:
                warm_up()
    mine, others = list[float](), list[float]()
    for _ in range(steps):
        if not theirs:
            mine.append(_milliseconds(ours))
            continue
        for step, times in ((ours, mine), (theirs, others)):
            time.sleep(SETTLE)
            times.append(_milliseconds(step))
    return mine, others


def _milliseconds(step: Callable[[], object]) -> float:
    before = time.perf_counter()
    step()
    return (time.perf_counter() - before) * 1e3


def own_steps(
    mimi: Mimi, lm: Lm, packed: str | None, batches: Iterable[int], steps: int = 9
) -> Iterator[tuple[int, float]]:
    """(batch, median milliseconds of a whole frame at full context) of a model that hears, without a peer."""
    for batch in batches:
        yield batch, statistics.median(_times(_our_step(mimi, lm, packed, batch), None, steps)[0])
        gc.collect()


def moshi_models(mimi: Mimi, lm: Lm, device: str = "cpu") -> tuple[Any, Any]:
    """`moshi`'s codec and LM with our weights, through its own loader. Raises UnsupportedError without the package."""
    pieces, tokenizer = _vocabulary(lm.config.text_card_out)
    with tempfile.TemporaryDirectory() as name:
        model = SttModel(SttConfig("bench", 0.5), mimi, lm, pieces)
        save_stt(model, name, dtype=lm.embeddings.dtype, tokenizer=tokenizer)
        info = moshi_info(Path(name))
        return info.get_mimi(device), info.get_moshi(device, dtype=lm.embeddings.dtype)


def _vocabulary(size: int) -> tuple[tuple[str, ...], bytes]:
    """A sentencepiece word model with that many pieces: the loader insists on one."""
    import io

    import sentencepiece

    target = io.BytesIO()
    words = [f"w{i}" for i in range(size - 4)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(words)]), model_writer=target, model_type="word", vocab_size=size,
        pad_id=3, bos_id=1, eos_id=2, unk_id=0, normalization_rule_name="identity", minloglevel=2,
        max_sentence_length=1 << 20,
    )  # fmt: skip
    processor = sentencepiece.SentencePieceProcessor(model_proto=target.getvalue())
    return tuple(processor.id_to_piece(i) for i in range(size)), target.getvalue()


def _our_step(mimi: Mimi, lm: Lm, packed: str | None, batch: int) -> Callable[[], object]:
    engine = SttEngine.fastest(mimi, lm, batch, packed)
    for slot in range(batch):
        engine.open(slot)
    # Full context: every later step attends over all of it.
    engine._memory.position.fill_(lm.config.context)
    engine._codec.position.fill_(mimi.config.context)
    rng = np.random.default_rng(0)
    frames = {slot: (rng.standard_normal(FRAME_SIZE) * 0.1).astype(np.float32) for slot in range(batch)}
    return partial(step_at_rest, engine, frames)


def _their_step(models: tuple[Any, Any], batch: int, stack: ExitStack) -> Callable[[], object]:
    """The reference always attends over its whole ring: its cost is that of full context from the first step."""
    from moshi.models.lm import LMGen

    mimi, lm = models
    generator = LMGen(lm, use_sampling=False, temp=0.0, temp_text=0.0)
    stack.enter_context(mimi.streaming(batch))
    stack.enter_context(generator.streaming(batch))
    stack.enter_context(torch.no_grad())
    audio = torch.randn(batch, 1, FRAME_SIZE) * 0.1
    return lambda: generator.step(mimi.encode(audio))
