"""Whether the GPU's path says what PyTorch's says, on the same device: token for token, stream by stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..engine.codec import PlainEncoder
from ..engine.gpu.engine import GraphedEngine
from ..engine.gpu.packed import PackedLinear
from ..engine.outputs import StepOutput
from ..engine.stepper import PlainLm
from ..engine.stt import SttEngine
from ..nn.lm import Lm
from ..nn.mimi import Mimi

Frames = NDArray[np.float32]


@dataclass(frozen=True)
class ParityRow:
    """One model in one precision: the same streams through two engines."""

    weights: str  # of the LM
    reference: str
    memory: str  # of its keys and values
    codec: str
    steps: int  # of all streams
    tokens: int  # that were equal
    codes: float  # the share of codes that were equal
    first: int | None  # the first step at which a stream said something else
    logprob: float  # the largest difference of the probability's logarithm, up to there
    said: int  # different tokens that the streams said

    @property
    def same(self) -> bool:
        return self.tokens == self.steps


def parity(
    mimi: Mimi, lm: Lm, frames: Frames, steps: int, *, memory: torch.dtype | None = None,
    codec: torch.dtype | None = None, capture: bool = True, reference: Lm | None = None,
) -> ParityRow:  # fmt: skip
    """Three streams that begin at different places of `frames` [n, frame_size], one of them late, one with pauses.

    They are compared with `reference`, by default the same LM, stepped by PyTorch.
    """
    ours = GraphedEngine(mimi, lm, 3, memory=memory, codec=codec, capture=capture)
    said = _run(ours, frames, steps)
    del ours
    theirs = _run(SttEngine(mimi, reference or lm, 3, PlainLm, PlainEncoder), frames, steps)
    pairs = [(i, a, b) for mine, other in zip(said, theirs, strict=True) for i, (a, b) in enumerate(zip(mine, other))]
    first = min((i for i, a, b in pairs if a.token != b.token), default=None)
    before = [(a, b) for i, a, b in pairs if first is None or i < first]
    return ParityRow(
        weights=weights_of(lm),
        reference=_name((reference or lm).embeddings.dtype),
        memory=_name(memory or lm.embeddings.dtype),
        codec=_name(codec or torch.float32),
        steps=len(pairs),
        tokens=sum(a.token == b.token for _, a, b in pairs),
        codes=float(np.mean([np.equal(a.codes, b.codes).mean() for _, a, b in pairs])),
        first=first,
        logprob=max((abs(a.logprob - b.logprob) for a, b in before), default=0.0),
        said=len({a.token for _, a, _ in pairs}),
    )


def _run(engine: SttEngine, frames: Frames, steps: int) -> list[list[StepOutput]]:
    told: list[list[StepOutput]] = [[], [], []]
    for i in range(steps):
        if i in (0, steps // 3):
            engine.open(2 if i else 0)
        if i == 0:
            engine.open(1)
        slots = [slot for slot in sorted(engine._open) if slot != 1 or i % 5]
        for slot, output in engine.step({slot: frames[(i + 41 * slot) % len(frames)] for slot in slots}).items():
            told[slot].append(output)
    return told


def weights_of(lm: Lm) -> str:
    """What its layers are kept in."""
    packed = any(isinstance(part, PackedLinear) for part in lm.transformer.modules())
    return "int8" if packed else _name(lm.embeddings.dtype)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def logit_errors(lm: Lm, exact: Lm, kept: Sequence[torch.dtype | None], positions: int) -> dict[str, float]:
    """Relative error of the logits, for each way to keep keys and values, to those of `exact`.

    After `positions` of random codes and text; it is the last ones' error, with the whole context heard.
    """
    from ..engine.gpu.lm import PagedLm
    from ..nn.rows import Rows

    rng, config, device = np.random.default_rng(0), lm.config, lm.embeddings.device
    text = torch.from_numpy(rng.integers(0, config.text_card, (1, positions + 1))).to(device)
    codes = torch.from_numpy(rng.integers(0, config.card, (1, positions + 1, config.n_q))).to(device)
    with torch.inference_mode():
        wanted: Any = exact(text, codes)[0][:, -1]
        errors = {}
        for memory in kept:
            paged = PagedLm(lm, 1, 16, memory)
            for first in range(0, positions, 16):
                part = slice(first, min(first + 16, positions))
                paged.hear(Rows([0], device), text[:, part], codes[:, part])
            got = paged.hear(Rows([0], device), text[:, -1:], codes[:, -1:])[0][:, -1]
            errors[_name(memory or lm.embeddings.dtype)] = float((got - wanted).norm() / wanted.norm())
    return errors
