"""An LM's weights as the kernels read them (`Model` of model.h)."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from vivavoce.nn.lm import Lm
from vivavoce.nn.transformer import GatedFeedForward, Layer

from . import structures
from .layers import Packer
from .library import Library
from .packing import GROUP, Format, padded
from .rings import Rings
from .scratch import Scratch, own_of


@dataclass(frozen=True)
class Precision:
    """How weights and the ring are kept. Sums are fp32; the heads of an INT4 model are INT8."""

    weights: Format
    memory: Format

    @classmethod
    def of(cls, dtype: torch.dtype) -> Precision:
        """As the model has it."""
        return cls.all(Format.FLOAT32 if dtype == torch.float32 else Format.BFLOAT16)

    @classmethod
    def all(cls, format: Format) -> Precision:
        """Weights and ring alike."""
        return cls(format, format)


class LmWeights:
    """The struct and the memory behind it; the LM's own tensors serve for nothing but the embeddings."""

    def __init__(self, library: Library, lm: Lm, format: Format) -> None:
        config, table = lm.config, lm.embeddings.detach()
        assert table.is_contiguous()
        self._pack = pack = Packer(library, config.dim, config.num_heads, format)
        self.layers = (structures.Layer * config.num_layers)(
            *map(self._layer, cast("list[Layer]", lm.transformer.layers))
        )
        places = torch.arange(pack.head_width // 2, dtype=torch.float64)
        frequencies = torch.pow(config.max_period, places * (-2 / pack.head_dim))
        heads = torch.cat([lm.text_head.weight, lm.extra_heads.flatten(0, 1)]).detach()
        self.struct = structures.Model(
            ctypes.addressof(self.layers), pack.vector(lm.norm.alpha), pack.matrix(heads, min(format, Format.INT8)),
            pack.table(table), pack.table(frequencies), self._pairs(lm), Precision.of(table.dtype).weights,
            config.num_layers, config.dim, padded(config.dim, GROUP), config.num_heads, pack.head_dim,
            pack.head_width, config.n_q, config.card, config.text_card, config.context,
            config.text_card_out, *((config.extra_heads, classes) if (classes := config.extra_heads_dim) else (0, 0)),
        )  # fmt: skip

    @property
    def bytes(self) -> int:
        """Of all that steps read, the embeddings too."""
        return self._pack.bytes

    def scratch(self, rings: list[Rings], threads: int) -> Scratch:
        """For steps over these rings."""
        layer, model = self.layers[0], self.struct
        widest = max(layer.qkv.outputs, model.width, layer.inner.outputs // 2, layer.outer.inputs)
        own = own_of(widest, model.head_width, *rings)
        return Scratch(model.width, widest, layer.out.inputs, model.head_width, own, threads)

    def _layer(self, layer: Layer) -> structures.Layer:
        attention, feed_forward = layer.attention, cast("GatedFeedForward", layer.feed_forward)
        packed = self._pack.layer(
            (cast("Tensor", layer.norm1.alpha), cast("Tensor", layer.norm2.alpha)), attention.qkv.weight,
            attention.out.weight, feed_forward.inner.weight, feed_forward.outer.weight, rotated=True,
        )  # fmt: skip
        if layer.cross is not None and layer.norm_cross is not None:
            query = layer.cross.qkv.weight.detach().chunk(3)[0]
            packed.norm_cross = self._pack.vector(layer.norm_cross.weight)
            packed.bias_cross = self._pack.vector(layer.norm_cross.bias)
            packed.cross_query = self._pack.matrix(self._pack.in_heads(query))
            packed.cross_out = self._pack.from_heads(layer.cross.out.weight)
        return packed

    def _pairs(self, lm: Lm) -> int | None:
        """The text rows as the first and as the second of two texts, multiplied once and for all."""
        if lm.text_first is None or lm.text_second is None:
            return None
        rows = lm.embeddings.detach()[: lm.config.text_card + 1]
        with torch.no_grad():
            return self._pack.table(torch.stack([lm.text_first(rows), lm.text_second(rows)]))
