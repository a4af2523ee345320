"""The LM of an engine on the CPU: packed weights, a ring of keys and values for every slot, one native call a step."""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from vivavoce.nn.lm import Lm
from vivavoce.nn.rows import Rows
from vivavoce.nn.transformer import GatedFeedForward, Layer

from . import structures
from .library import Library
from .packing import CHANNELS, GROUP, Format, Packed, allocate, pack, padded

PROBLEMS = {1: "a slot", 2: "a text token", 3: "a code", 4: "the number of frames"}


@dataclass(frozen=True)
class Precision:
    """How weights and the ring are kept. Sums are fp32; the heads of an INT4 model are INT8."""

    weights: Format
    memory: Format  # not INT4

    @classmethod
    def of(cls, dtype: torch.dtype) -> Precision:
        """As the model has it."""
        return cls(*[Format.FLOAT32 if dtype == torch.float32 else Format.BFLOAT16] * 2)


class NativeLm:
    """`Stepper` over one LM for `slots` streams that bring at most `frames` frames a call.

    `isa` names an instruction set of `Library.isas`; None is the best. The LM's own tensors are used for nothing but
    the embeddings once this is made.
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
    ) -> None:
        assert can_step(lm), "the kernels know no cross-attention and one text stream, on the CPU"
        self._library, self._lm, self._frames = library, lm, frames
        self._isa = library.isas[isa] if isa else next(iter(library.isas.values()))
        self._precision = precision or Precision.of(lm.embeddings.dtype)
        assert self._precision.memory is not Format.INT4
        self.position = torch.zeros(slots, dtype=torch.long)
        self._oldest = torch.zeros(slots, dtype=torch.long)
        self._weights = _Weights(lm, self._precision.weights)
        self._ring(slots, lm.config.context + frames - 1)
        self._rows, self._threads = 0, threads
        self._crew = library.crew(threads)
        weakref.finalize(self, library.dismiss, self._crew)

    def reset(self, slot: int) -> None:
        """Nothing was heard. What the ring holds stays, finite numbers that take a share of exactly zero."""
        self.position[slot] = self._oldest[slot] = 0

    def prefill(self, text: Tensor, codes: Tensor, slot: int, position: int) -> None:
        """`slot`, which was reset, hears text [1, T] and codes [1, T, n_q] from `position` on."""
        self.position[slot] = self._oldest[slot] = position
        rows = Rows([slot])
        for part, column in zip(text.split(self._frames, 1), codes.split(self._frames, 1), strict=True):
            self._step(rows, part, column, None)

    def hear(self, rows: Rows, text: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """text int64 [B, T], codes int64 [B, T, n_q] to what `Lm.forward` gives."""
        config = self._lm.config
        logits = torch.empty(*text.shape, self._weights.heads.struct.outputs)
        self._step(rows, text, codes, logits)
        extra = logits[..., config.text_card_out :][..., : config.extra_heads * config.extra_heads_dim]
        shape = (config.extra_heads, config.extra_heads_dim)
        return logits[..., : config.text_card_out], extra.unflatten(-1, shape) if all(shape) else extra[..., None]

    def _step(self, rows: Rows, text: Tensor, codes: Tensor, logits: Tensor | None) -> None:
        self._reserve(text.numel())
        assert text.dtype == codes.dtype == torch.long
        text, codes = text.contiguous(), codes.contiguous()
        call = structures.Call(
            rows.index.data_ptr(), text.data_ptr(), codes.data_ptr(), self.position.data_ptr(),
            self._oldest.data_ptr(), None if logits is None else logits.data_ptr(), *text.shape,
        )  # fmt: skip
        arguments = self._weights.struct, self._memory, call, self._work
        problem = self._library.step(self._isa, self._crew, *map(ctypes.addressof, arguments))
        if problem:
            raise IndexError(f"{PROBLEMS[problem]} is out of bounds: text {text.tolist()}, codes {codes.tolist()}")

    def _ring(self, slots: int, capacity: int) -> None:
        model, kept = self._weights.struct, self._precision.memory
        places = padded(capacity, CHANNELS)
        heads = model.layer_count * slots * model.head_count
        dtype = (torch.float32, torch.bfloat16, torch.uint8)[kept]
        self._keys, self._values = (allocate(heads * places * model.head_width, dtype) for _ in range(2))
        self._scales = [allocate(heads * places, torch.float32) for _ in range(2)] if kept is Format.INT8 else []
        scales = [scale.data_ptr() for scale in self._scales] if self._scales else [None, None]
        self._memory = structures.Memory(
            self._keys.data_ptr(), self._values.data_ptr(), *scales, kept, slots, capacity, places
        )

    def _reserve(self, rows: int) -> None:
        """Scratch for so many rows."""
        if rows <= self._rows:
            return
        model = self._weights.struct
        layer = self._weights.layers[0]
        widest = max(layer.qkv.outputs, model.width, layer.inner.outputs // 2, layer.outer.inputs)
        places = self._memory.padded + max(self._memory.padded, model.head_width)
        own = max(places, widest)
        sizes = {
            "hidden": rows * model.width, "wide": rows * widest, "attended": rows * layer.out.inputs,
            "cosine": rows * model.head_width // 2, "sine": rows * model.head_width // 2, "packed": rows * widest,
            "scales": rows * (widest // GROUP + 1), "sums": rows * (widest // GROUP + 1), "own": self._threads * own,
        }  # fmt: skip
        self._scratch = {name: torch.zeros(size) for name, size in sizes.items()}
        addresses = [scratch.data_ptr() for scratch in self._scratch.values()]
        self._work = structures.Workspace(*addresses, own, widest)
        self._rows = rows


def can_step(lm: Lm) -> bool:
    """Whether the kernels know this kind of model."""
    config, weight = lm.config, lm.embeddings
    plain = not config.cross_attention and not config.demux and config.dim % config.num_heads == 0
    return plain and weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.bfloat16)


class _Weights:
    """`Model` of model.h and the memory behind it."""

    def __init__(self, lm: Lm, format: Format) -> None:
        config = lm.config
        self.head_dim = config.dim // config.num_heads
        self.head_width = padded(self.head_dim, CHANNELS)
        self.heads_of = config.num_heads
        self._kept: list[object] = [lm.embeddings]
        self.layers = (structures.Layer * config.num_layers)(
            *(self._layer(layer, format) for layer in cast("list[Layer]", lm.transformer.layers))
        )
        places = torch.arange(self.head_width // 2, dtype=torch.float64)
        self._frequencies = torch.pow(config.max_period, places * (-2 / self.head_dim))
        heads = torch.cat([lm.text_head.weight, lm.extra_heads.flatten(0, 1)]).detach()
        self.heads = pack(heads, min(format, Format.INT8))
        table = lm.embeddings.detach()
        assert table.is_contiguous()
        self.struct = structures.Model(
            ctypes.addressof(self.layers), self._vector(lm.norm.alpha), self.heads.struct, table.data_ptr(),
            self._frequencies.data_ptr(), Precision.of(table.dtype).weights, config.num_layers, config.dim,
            padded(config.dim, GROUP), config.num_heads, self.head_dim, self.head_width, config.n_q, config.card,
            config.text_card, config.context,
        )  # fmt: skip

    def _layer(self, layer: Layer, format: Format) -> structures.Layer:
        attention, feed_forward = layer.attention, cast("GatedFeedForward", layer.feed_forward)
        query, key, value = attention.qkv.weight.detach().float().chunk(3)
        qkv = torch.cat([self._halves(query), self._halves(key), self._in_heads(value)])
        out = self._in_heads(attention.out.weight.detach().float().T).T
        return structures.Layer(
            self._vector(cast("Tensor", layer.norm1.alpha)),
            self._vector(cast("Tensor", layer.norm2.alpha)),
            self._matrix(qkv, format),
            self._matrix(_padded_rows(out), format),
            self._matrix(_in_turn(feed_forward.inner.weight.detach().float()), format),
            self._matrix(_padded_rows(feed_forward.outer.weight.detach().float()), format),
        )

    def _in_heads(self, weight: Tensor) -> Tensor:
        """Rows [heads * head_dim] to [heads * head_width], with rows of zeros."""
        heads = weight.unflatten(0, (self.heads_of, self.head_dim))
        return F.pad(heads, (0, 0, 0, self.head_width - self.head_dim)).flatten(0, 1)

    def _halves(self, weight: Tensor) -> Tensor:
        """Also with a head's even rows, which RoPE turns with the odd ones, in its first half."""
        pairs = weight.unflatten(0, (self.heads_of, self.head_dim // 2, 2)).transpose(1, 2)
        room = (self.head_width - self.head_dim) // 2
        return F.pad(pairs, (0, 0, 0, room)).flatten(0, 2)

    def _matrix(self, weight: Tensor, format: Format) -> structures.Matrix:
        packed: Packed = pack(weight, format)
        self._kept.append(packed)
        return packed.struct

    def _vector(self, weight: Tensor) -> int:
        vector = F.pad(weight.detach().float(), (0, padded(len(weight), GROUP) - len(weight)))
        self._kept.append(vector)
        return vector.data_ptr()


def _padded_rows(weight: Tensor) -> Tensor:
    return F.pad(weight, (0, 0, 0, padded(weight.shape[0], GROUP) - weight.shape[0]))


def _in_turn(weight: Tensor) -> Tensor:
    """[gate; up] with 16 rows of each in turn, each padded to whole groups: they are the next product's inputs."""
    gate, up = (_padded_rows(half).unflatten(0, (-1, CHANNELS)) for half in weight.chunk(2))
    return torch.stack([gate, up], 1).flatten(0, 2)
