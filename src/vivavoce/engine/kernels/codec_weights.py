"""Mimi's weights as the kernels read them: `Encoder` of codec.h, and the memory behind it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from vivavoce.nn.conv import CausalConv1d
from vivavoce.nn.mimi import Mimi
from vivavoce.nn.quantizer import SplitQuantizer
from vivavoce.nn.seanet import Residual
from vivavoce.nn.transformer import GeluFeedForward, Layer, LayerScale, Transformer

from . import codec_structures as structures
from .layers import Packer
from .packing import CHANNELS, Format, padded
from .structures import Matrix

WHOLE = CHANNELS  # what the inputs of a product are padded to where its rows are packed


class Weights(Packer):
    """Packs the codec's matrices, and keeps what the structs point to."""

    def __init__(self, mimi: Mimi, format: Format) -> None:
        super().__init__(mimi.config.dimension, mimi.config.heads, format)
        self.widest = 0  # of all rows that go into a product or come out of one

    def matrix(self, weight: Tensor, format: Format | None = None, to: int = WHOLE) -> Matrix:
        struct = super().matrix(weight.detach(), format, to)
        self.widest = max(self.widest, struct.inputs, struct.outputs)
        return struct

    def array(self, structs: Sequence[ctypes.Structure]) -> int:
        array = (type(structs[0]) * len(structs))(*structs)
        self._kept.append(array)
        return ctypes.addressof(array)


class Convolutions:
    """A chain of convolutions: where their tails are in a slot's memory, and how large their buffers are."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.structs = list[structures.Conv]()
        self.tail_size = self.region = 0

    def alone(self, conv: CausalConv1d, rows: int) -> None:
        """One that a thread takes a stream at a time: `rows` moments a frame, several in a row where it is narrow."""
        weight, bias = conv.weight.detach(), _bias_of(conv)
        fold = _moments(len(weight), rows)
        self._add(_folded(weight, conv.stride, fold), bias.repeat(fold), conv, rows // fold, fold, Format.FLOAT32)
        made = self.structs[-1]
        self.region = max(self.region, made.kept + made.rows * made.step, made.rows * made.width)

    def together(self, conv: CausalConv1d, rows: int) -> None:
        """One whose rows, of all streams, are taken together."""
        self._add(conv.weight.detach().flatten(1), _bias_of(conv), conv, rows, 1, None)

    def joined(self, frames: int) -> int:
        """Numbers of the largest buffer of those that are taken together, for a stream's frames."""
        return max(c.kept + frames * c.rows * c.step for c in self.structs[-2:])

    def _add(
        self, weight: Tensor, bias: Tensor, conv: CausalConv1d, rows: int, fold: int, format: Format | None
    ) -> None:
        inputs = conv.weight.shape[2]
        kept = conv.context * inputs
        matrix = self._weights.matrix(weight, format, 1 if format is Format.FLOAT32 else WHOLE)
        self.structs.append(
            structures.Conv(
                matrix, self._weights.vector(bias), conv.stride * inputs * fold, kept, self.tail_size, len(weight), rows
            )
        )
        self.tail_size += kept


def _bias_of(conv: CausalConv1d) -> Tensor:
    return conv.weight.new_zeros(len(conv.weight)) if conv.bias is None else conv.bias.detach()


def _moments(outputs: int, rows: int) -> int:
    """The fewest moments whose results fill whole lines and that divide a frame; one where none do."""
    whole = (n for n in range(1, CHANNELS + 1) if n * outputs % CHANNELS == 0 and rows % n == 0)
    return next(whole, 1)


def _folded(weight: Tensor, stride: int, fold: int) -> Tensor:
    """weight [out, kernel, in] to [fold * out, (kernel + (fold - 1) * stride) * in]: `fold` moments from one window."""
    kernel = weight.shape[1]
    moments = [F.pad(weight, (0, 0, i * stride, (fold - 1 - i) * stride)) for i in range(fold)]
    return torch.cat(moments).reshape(fold * len(weight), (kernel + (fold - 1) * stride) * weight.shape[2])


def encoder(weights: Weights, mimi: Mimi) -> tuple[structures.Encoder, Convolutions]:
    """The encoding half."""
    config, convolutions = mimi.config, Convolutions(weights)
    first, *blocks, last = cast("list[CausalConv1d | Residual]", list(mimi.encoder.blocks))
    rows = config.frame_size
    convolutions.alone(cast("CausalConv1d", first), rows)
    for stage, ratio in enumerate(config.ratios):
        residual, down = cast("Residual", blocks[2 * stage]), cast("CausalConv1d", blocks[2 * stage + 1])
        convolutions.alone(residual.narrow, rows)
        convolutions.alone(residual.widen, rows)
        convolutions.region = max(convolutions.region, rows * len(residual.widen.weight) + down.weight[0].numel())
        rows //= ratio
        (convolutions.alone if stage + 1 < len(config.ratios) else convolutions.together)(down, rows)
    convolutions.together(cast("CausalConv1d", last), rows)
    convolutions.together(mimi.downsample, rows // 2)
    struct = structures.Encoder(
        weights.array(convolutions.structs), transformer(weights, mimi.encoder_transformer),
        quantiser(weights, mimi.quantizer), len(config.ratios), config.frame_size,
    )  # fmt: skip
    return struct, convolutions


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
    room = padded(width, CHANNELS) - width
    books = [_book(weights, F.pad(book.detach(), (0, room)).contiguous()) for half in halves for book in half.codebooks]
    project = torch.cat([F.pad(half.project_in.weight.detach(), (0, 0, 0, room)) for half in halves])
    return structures.Quantiser(
        weights.array(books), weights.matrix(project, Format.FLOAT32), len(books), bins, width + room
    )


def _book(weights: Weights, entries: Tensor) -> structures.Book:
    """entries [bins, width]."""
    halves = entries.square().sum(1) / 2
    halves = F.pad(halves, (0, -len(halves) % CHANNELS), value=torch.inf)
    return structures.Book(
        weights.matrix(entries), weights.table(entries), weights.table(halves), 0.0, float(entries.norm(dim=1).max())
    )
