"""Mimi's weights as the kernels read them: `Encoder` and `Decoder` of codec.h, and the memory behind them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from vivavoce.nn.conv import CausalConv1d, CausalConvTranspose1d
from vivavoce.nn.mimi import Mimi
from vivavoce.nn.quantizer import SplitQuantizer
from vivavoce.nn.seanet import Residual
from vivavoce.nn.transformer import GeluFeedForward, Layer, LayerScale, Transformer

from . import codec_structures as structures
from .layers import Packer
from .library import Library
from .packing import CHANNELS, Format, padded
from .structures import Matrix

WHOLE = CHANNELS  # what the inputs of a product are padded to where its rows are packed


class Weights(Packer):
    """Packs the codec's matrices, and keeps what the structs point to."""

    def __init__(self, library: Library, mimi: Mimi, format: Format) -> None:
        super().__init__(library, mimi.config.dimension, mimi.config.heads, format)
        self.widest = 0  # of all rows that go into a product or come out of one

    def matrix(self, weight: Tensor, format: Format | None = None, to: int = WHOLE) -> Matrix:
        return self._noted(super().matrix(weight.detach(), format, to))

    def matrix_alone(self, weight: Tensor, format: Format) -> tuple[Matrix, int | None]:
        """One whose rows are windows of a buffer, as they are; and, of bytes, what its outputs' weights add up to."""
        packed = self.packed(weight.detach(), format, 1)
        sums = None if packed.scales is None else self.table(packed.sums())
        return self._noted(packed.struct), sums

    def _noted(self, struct: Matrix) -> Matrix:
        self.widest = max(self.widest, struct.inputs, struct.outputs)
        return struct

    def array(self, structs: Sequence[ctypes.Structure]) -> int:
        array = (type(structs[0]) * len(structs))(*structs)
        self._kept.append(array)
        return ctypes.addressof(array)


@dataclass
class Kernel:
    """A causal convolution: weight [out, kernel, in]."""

    weight: Tensor
    bias: Tensor
    stride: int

    @classmethod
    def of(cls, conv: CausalConv1d) -> Kernel:
        weight = conv.weight.detach()
        return cls(weight, weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.detach(), conv.stride)

    @classmethod
    def transposed(cls, conv: CausalConvTranspose1d) -> Kernel:
        """Of two inputs, the one before and the one now, to `stride` moments of results."""
        assert conv.bias is not None
        now, later = conv.weight.detach().permute(1, 2, 0).chunk(2)  # [stride, out, in]
        weight = torch.stack([later.flatten(0, 1), now.flatten(0, 1)], 1)
        return cls(weight, conv.bias.detach().repeat(conv.stride), 1)


class Convolutions:
    """A chain of convolutions: where their tails are in a slot's memory, and how large their buffers are."""

    def __init__(self, weights: Weights, format: Format) -> None:
        """`format` of those that are taken alone."""
        self._weights, self._format = weights, format
        self.structs = list[structures.Conv]()
        self.tail_size = 0
        self.region = 0  # numbers of the largest buffer of a frame of those that are taken alone
        self.room = 0  # of the longest tail that floats have before they become bytes
        self._joined = list[structures.Conv]()

    def alone(self, kernel: Kernel, rows: int, exact: bool = False) -> None:
        """One that a thread takes a stream at a time: `rows` moments a frame, several in a row where it is narrow.

        An `exact` one hears or says samples, and is fp32 in every precision: its arithmetic is hardly any.
        """
        fold = _moments(len(kernel.weight), rows)
        kind = Format.FLOAT32 if exact else self._format
        matrix, sums = self._weights.matrix_alone(_folded(kernel, fold), kind)
        made = self._add(kernel, matrix, rows // fold, fold, kind, sums)
        self.region = max(self.region, made.kept + made.rows * made.step, made.rows * made.width)
        self.room = max(self.room, made.kept if kind is Format.INT8 else 0)

    def together(self, kernel: Kernel, rows: int) -> None:
        """One whose rows, of all streams, are taken together."""
        matrix = self._weights.matrix(kernel.weight.flatten(1))
        self._joined.append(self._add(kernel, matrix, rows, 1, Format.FLOAT32))

    def joined(self, frames: int) -> int:
        """Numbers of the largest buffer of those that are taken together, for a stream's frames."""
        return max(c.kept + frames * c.rows * max(c.step, c.width) for c in self._joined)

    def tail(self, numbers: int) -> int:
        """Room for so many in a slot's tails."""
        at, self.tail_size = self.tail_size, self.tail_size + numbers
        return at

    def _add(
        self, kernel: Kernel, matrix: Matrix, rows: int, fold: int, buffer: Format, sums: int | None = None
    ) -> structures.Conv:
        length, inputs = kernel.weight.shape[1:]
        kept = (length - kernel.stride) * inputs
        bias = self._weights.vector(kernel.bias.repeat(fold))
        step = kernel.stride * inputs * fold
        width = fold * len(kernel.weight)
        made = structures.Conv(matrix, bias, sums, step, kept, self.tail(kept), width, rows, buffer)
        self.structs.append(made)
        return made


def _moments(outputs: int, rows: int) -> int:
    """The fewest moments whose results fill whole lines and that divide a frame; one where none do."""
    whole = (n for n in range(1, CHANNELS + 1) if n * outputs % CHANNELS == 0 and rows % n == 0)
    return next(whole, 1)


def _folded(kernel: Kernel, fold: int) -> Tensor:
    """[fold * out, (kernel + (fold - 1) * stride) * in]: `fold` moments from one window."""
    stride = kernel.stride
    moments = [F.pad(kernel.weight, (0, 0, i * stride, (fold - 1 - i) * stride)) for i in range(fold)]
    return torch.cat(moments).flatten(1)


def encoder(weights: Weights, mimi: Mimi) -> tuple[structures.Encoder, Convolutions]:
    """The encoding half."""
    config, chain = mimi.config, Convolutions(weights, weights.format)
    first, *blocks, last = mimi.encoder.blocks
    rows = config.frame_size
    chain.alone(Kernel.of(cast("CausalConv1d", first)), rows, exact=True)
    for block in blocks:
        if isinstance(block, Residual):
            _residual(chain, block, rows)
            chain.region = max(chain.region, rows * len(block.widen.weight) + block.widen.weight[0].numel())
            continue
        down = Kernel.of(cast("CausalConv1d", block))
        rows //= down.stride
        (chain.together if block is blocks[-1] else chain.alone)(down, rows)
        chain.region = max(chain.region, chain.structs[-1].kept + rows * chain.structs[-1].step)
    chain.together(Kernel.of(cast("CausalConv1d", last)), rows)
    chain.together(Kernel.of(mimi.downsample), 1)
    struct = structures.Encoder(
        weights.array(chain.structs), transformer(weights, mimi.encoder_transformer),
        quantiser(weights, mimi.quantizer), len(config.ratios), config.frame_size,
    )  # fmt: skip
    return struct, chain


def decoder(weights: Weights, mimi: Mimi) -> tuple[structures.Decoder, Convolutions]:
    """The decoding half."""
    config, chain = mimi.config, Convolutions(weights, min(weights.format, Format.BFLOAT16))
    first, *blocks, last = mimi.decoder.blocks
    rows = 2
    chain.together(Kernel.of(cast("CausalConv1d", first)), rows)
    for block in blocks:
        if isinstance(block, Residual):
            _residual(chain, block, rows)
            continue
        up = cast("CausalConvTranspose1d", block)
        (chain.together if block is blocks[0] else chain.alone)(Kernel.transposed(up), rows)
        rows *= up.stride
        chain.region = max(chain.region, rows * up.outputs)
    chain.alone(Kernel.of(cast("CausalConv1d", last)), rows, exact=True)
    width = padded(config.codebook_dim, CHANNELS)
    halves = mimi.quantizer.semantic, mimi.quantizer.acoustic
    entries = [weights.table(_wide(book)) for half in halves for book in half.codebooks]  # addresses
    upsample = F.pad(mimi.upsample.weight.detach()[0], (0, padded(config.dimension, WHOLE) - config.dimension))
    project = torch.cat([_wide(half.project_out.weight) for half in halves], 1)
    struct = structures.Decoder(
        weights.array(chain.structs), weights.table(torch.tensor(entries)),
        weights.matrix(project, Format.FLOAT32), weights.table(upsample),
        transformer(weights, mimi.decoder_transformer), config.codebooks, config.bins, width, len(config.ratios),
        config.frame_size, chain.tail(config.dimension),
    )  # fmt: skip
    return struct, chain


def _residual(chain: Convolutions, block: Residual, rows: int) -> None:
    chain.alone(Kernel.of(block.narrow), rows)
    chain.alone(Kernel.of(block.widen), rows)


def transformer(weights: Weights, module: Transformer) -> structures.CodecTransformer:
    config = module.config
    places = torch.arange(weights.head_width // 2, dtype=torch.float64)
    frequencies = torch.pow(config.max_period, places * (-2 / weights.head_dim))
    layers = [_layer(weights, layer) for layer in cast("list[Layer]", list(module.layers))]
    return structures.CodecTransformer(
        weights.array(layers), weights.table(frequencies), config.layers, config.dim, padded(config.dim, WHOLE),
        config.heads, weights.head_dim, weights.head_width, config.context,
    )  # fmt: skip


def _layer(weights: Weights, layer: Layer) -> structures.CodecLayer:
    attention, feed_forward = layer.attention, cast("GeluFeedForward", layer.feed_forward)
    query, key, value = attention.qkv.weight.detach().chunk(3)
    scale1, scale2 = (cast("LayerScale", scale).scale.detach()[:, None] for scale in (layer.scale1, layer.scale2))
    norms = [cast("torch.nn.LayerNorm", norm) for norm in (layer.norm1, layer.norm2)]
    return structures.CodecLayer(
        *(weights.vector(vector) for norm in norms for vector in (norm.weight, norm.bias)),
        weights.matrix(torch.cat([weights.in_halves(query), weights.in_halves(key), weights.in_heads(value)])),
        weights.matrix(weights.in_heads((attention.out.weight.detach() * scale1).T).T),
        weights.matrix(feed_forward.inner.weight),
        weights.matrix(feed_forward.outer.weight.detach() * scale2),
    )


def quantiser(weights: Weights, module: SplitQuantizer) -> structures.Quantiser:
    halves = module.semantic, module.acoustic
    bins, width = halves[0].codebooks.shape[1:]
    books = [_book(weights, _wide(book)) for half in halves for book in half.codebooks]
    room = padded(width, CHANNELS) - width
    project = torch.cat([F.pad(half.project_in.weight.detach(), (0, 0, 0, room)) for half in halves])
    return structures.Quantiser(
        weights.array(books), weights.matrix(project, Format.FLOAT32), len(books), bins, width + room
    )


def _book(weights: Weights, entries: Tensor) -> structures.Book:
    """entries [bins, width]."""
    halves = entries.square().sum(1) / 2
    halves = F.pad(halves, (0, -len(halves) % CHANNELS), value=torch.inf)
    kind = min(weights.format, Format.BFLOAT16)  # bytes would leave too many to score again
    rounded = 0.0 if kind is Format.FLOAT32 else float((entries - entries.bfloat16().float()).norm(dim=1).max())
    longest = float(entries.norm(dim=1).max()) + rounded
    return structures.Book(
        weights.matrix(entries, kind), weights.table(entries), weights.table(halves), rounded, longest
    )


def _wide(weight: Tensor) -> Tensor:
    """Rows padded to whole lines."""
    return F.pad(weight.detach(), (0, -weight.shape[-1] % CHANNELS)).contiguous()
