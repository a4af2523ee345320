"""The LM of an engine on the CPU: packed weights, a ring of keys and values for every slot, one native call a step."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from vivavoce.nn.attention import CrossAttention
from vivavoce.nn.conditions import Fused
from vivavoce.nn.lm import Lm
from vivavoce.nn.rows import Rows
from vivavoce.nn.transformer import Layer

from ..answer import Answer
from . import structures
from .library import Library
from .packing import Format
from .release import release
from .rings import Rings
from .weights import LmWeights
from .weights import Precision as Precision

PROBLEMS = {1: "a slot", 2: "a text token", 3: "a code", 4: "the number of frames"}


class NativeLm:
    """`Stepper` over one LM for `slots` streams that bring at most `frames` frames a call.

    `isa` names an instruction set of `Library.isas`; None is the best. `source` is the length of what each slot is
    conditioned on. Once this is made, the LM's own tensors serve for embeddings and `condition` alone.
    """

    def __init__(
        self,
        library: Library,
        lm: Lm,
        slots: int,
        frames: int,
        precision: Precision | None = None,
        threads: int = 1,
        isa: str | None = None,
        source: int = 0,
    ) -> None:
        assert can_step(lm), "the kernels step an LM in fp32 or bf16, on the CPU"
        assert lm.config.cross_attention == bool(source), "an LM has conditions to attend to, or has not"
        self._library, self._lm, self._frames = library, lm, frames
        self._isa = library.isas[isa] if isa else next(iter(library.isas.values()))
        self._precision = precision or Precision.of(lm.embeddings.dtype)
        self.position = torch.zeros(slots, dtype=torch.long)
        self._oldest = torch.zeros(slots, dtype=torch.long)
        self._weights = LmWeights(library, lm, self._precision.weights)
        self._rings = self._room(slots, lm.config.context + frames - 1)
        self._sources = self._room(slots, source) if source else None
        self._added: Tensor | None = None
        self._scratch = self._weights.scratch([self._rings, *([self._sources] if self._sources else [])], threads)
        self._crew = library.crew(threads)
        weakref.finalize(self, library.dismiss, self._crew)

    @property
    def heard(self) -> list[Tensor]:
        """Keys and values of all slots, as they lie."""
        return self._rings.tensors

    def let_go(self) -> None:
        """The LM keeps its embeddings and what `condition` projects with."""
        for layer in cast("list[Layer]", list(self._lm.transformer.layers)):
            release(layer.attention, layer.feed_forward)
        release(self._lm.text_head)

    @property
    def weight_bytes(self) -> int:
        """Of the weights as they are kept for steps, the embeddings too."""
        return self._weights.bytes

    def reset(self, slot: int) -> None:
        """Nothing was heard. What the ring holds stays, numbers that take a share of exactly zero."""
        self.position[slot] = self._oldest[slot] = 0

    def condition(self, slot: int, fused: Fused) -> None:
        """From now on `slot`, which was reset, is conditioned on this, of a batch of one; it may be no numbers."""
        self._rings.clear(slot)
        if self._added is None:
            self._added = torch.zeros(len(self.position), self._weights.struct.width)
        self._added[slot, : self._lm.config.dim] = 0 if fused.added is None else fused.added[0, 0]
        if self._sources is not None:
            assert fused.source is not None, "this model must be given its conditions"
            for index, layer in enumerate(self._lm.transformer.layers):
                of_layer = cast("CrossAttention", layer.cross).project(fused.source)
                self._sources.fill(index, slot, of_layer.keys[0], of_layer.values[0])

    def prefill(self, text: Tensor, codes: Tensor, slot: int, position: int) -> None:
        """`slot`, which was reset, hears text [1, T] and codes [1, T, n_q] from `position` on."""
        self.position[slot] = self._oldest[slot] = position
        rows = Rows([slot])
        for first in range(0, text.shape[1], self._frames):
            part = slice(first, first + self._frames)
            self._step(rows, text[:, part], codes[:, part], None)

    def hear(self, rows: Rows, text: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """text int64 [B, T], codes int64 [B, T, n_q] to what `Lm.forward` gives."""
        config = self._lm.config
        logits = torch.empty(*text.shape, self._weights.struct.heads.outputs)
        self._step(rows, text, codes, logits)
        extra = logits[..., config.text_card_out :][..., : config.extra_heads * config.extra_heads_dim]
        shape = (config.extra_heads, config.extra_heads_dim)
        return logits[..., : config.text_card_out], extra.unflatten(-1, shape) if all(shape) else extra[..., None]

    def answer(self, rows: Rows, text: Tensor, codes: Tensor) -> Answer:
        """The same to what `Stepper.answer` gives."""
        logits = torch.empty(*text.shape, self._weights.struct.heads.outputs)
        token, norm, logprob = (
            torch.empty(text.shape, dtype=torch.long),
            torch.empty(text.shape),
            torch.empty(text.shape),
        )
        pauses = torch.empty(*text.shape, self._weights.struct.pause_heads)
        self._step(rows, text, codes, logits, told=(token, norm, logprob, pauses))
        return Answer(logits[..., : self._lm.config.text_card_out], token, norm, logprob, pauses)

    def listen(self, rows: Rows, text: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """The same to what a depformer is given, fp32 [B, T, dim], and the text's logits."""
        heard = torch.empty(*text.shape, self._weights.struct.width)
        logits = torch.empty(*text.shape, self._weights.struct.heads.outputs)
        self._step(rows, text, codes, logits, heard=heard)
        return heard[..., : self._lm.config.dim], logits[..., : self._lm.config.text_card_out]

    def _step(
        self,
        rows: Rows,
        text: Tensor,
        codes: Tensor,
        logits: Tensor | None,
        told: Sequence[Tensor | None] = (None,) * 4,
        heard: Tensor | None = None,
    ) -> None:
        assert text.dtype == codes.dtype == torch.long
        text, codes, sources = text.contiguous(), codes.contiguous(), self._sources
        optional = (None if to is None else to.data_ptr() for to in (logits, *told, heard, self._added))
        call = structures.Call(
            rows.index.data_ptr(), text.data_ptr(), codes.data_ptr(), self.position.data_ptr(),
            self._oldest.data_ptr(), *optional,
            None if sources is None else ctypes.addressof(sources.struct), *text.shape,
        )  # fmt: skip
        arguments = self._weights.struct, self._rings.struct, call, self._scratch.of(text.numel())
        problem = self._library.step(self._isa, self._crew, *map(ctypes.addressof, arguments))
        if problem:
            raise IndexError(f"{PROBLEMS[problem]} is out of bounds: text {text.tolist()}, codes {codes.tolist()}")

    def _room(self, slots: int, capacity: int) -> Rings:
        model = self._weights.struct
        return Rings(
            model.layer_count, slots, model.head_count, model.head_width, capacity, Format(self._precision.memory)
        )


def can_step(lm: Lm) -> bool:
    """Whether the kernels know this kind of model."""
    config, weight = lm.config, lm.embeddings
    known = weight.dtype in (torch.float32, torch.bfloat16) and config.dim % config.num_heads == 0
    return known and weight.device.type == "cpu"
