"""Mimi of an engine on the CPU: packed weights, every slot's memory, one native call a step for each half."""

from __future__ import annotations

import ctypes
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from vivavoce.nn.mimi import Mimi
from vivavoce.nn.rows import Rows

from . import codec_structures, codec_weights
from .codec_weights import Convolutions, Weights
from .library import Library
from .packing import CHANNELS, Format, padded
from .release import release
from .rings import Rings
from .scratch import Scratch, own_of
from .weights import Precision

PROBLEMS = {1: "a slot", 2: "the number of frames", 3: "the number of codebooks", 4: "a code"}
SLACK = 64  # numbers that a vector may read behind a buffer


class _NativeHalf(ABC):
    """One half of a codec with the memory of `slots` streams that bring at most `frames` frames a call.

    `isa` names an instruction set of `Library.isas`; None is the best.
    """

    def __init__(
        self,
        library: Library,
        mimi: Mimi,
        slots: int,
        frames: int,
        precision: Precision | None = None,
        threads: int = 1,
        isa: str | None = None,
    ) -> None:
        assert can_code(mimi), "the kernels know codecs in fp32 on the CPU"
        precision = precision or Precision.all(Format.FLOAT32)
        self._library, self._mimi, self._config, self._frames = library, mimi, mimi.config, frames
        self._isa = library.isas[isa] if isa else next(iter(library.isas.values()))
        self._weights = Weights(library, mimi, precision.weights)
        self._struct, convolutions = self._packed(mimi)
        self._memory = Memory(self._struct.transformer, convolutions, precision.memory, slots, frames)
        self._scratch = CodecScratch(self._weights, convolutions, self._memory.rings, mimi.config.bins, threads)
        self._crew = library.crew(threads)
        weakref.finalize(self, library.dismiss, self._crew)

    @property
    def position(self) -> Tensor:
        """Of each slot in the transformer, two a frame, int64 [slots]."""
        return self._memory.position

    def reset(self, slot: int) -> None:
        """Nothing was heard or said."""
        self._memory.reset(slot)

    @abstractmethod
    def _packed(self, mimi: Mimi) -> tuple[codec_structures.Encoder | codec_structures.Decoder, Convolutions]:
        """The half's struct and its convolutions."""

    def _run(self, function: Callable[..., int], rows: Rows, audio: Tensor, codes: Tensor) -> None:
        """audio float [B, count * frame_size] and codes int64 [B, count, codebooks], one of them to be written."""
        assert audio.dtype == torch.float32 and codes.dtype == torch.long
        assert audio.is_contiguous() and codes.is_contiguous()
        work = self._scratch.of(*codes.shape[:2])
        arguments = self._struct, self._memory.rings.struct, self._memory.call(rows, audio, codes), work
        problem = function(self._isa, self._crew, *map(ctypes.addressof, arguments))
        if problem:
            raise IndexError(f"{PROBLEMS[problem]} is out of bounds: {rows.index.tolist()}, {list(codes.shape)}")


class NativeEncoder(_NativeHalf):
    """`Encoder` in native code."""

    def _packed(self, mimi: Mimi) -> tuple[codec_structures.Encoder, Convolutions]:
        return codec_weights.encoder(self._weights, mimi)

    def let_go(self) -> None:
        """All of the codec: who only hears says no codes."""
        release(self._mimi)

    def encode(self, rows: Rows, audio: Tensor, codebooks: int) -> Tensor:
        """audio float [B, frames * frame_size] to codes int64 [B, frames, codebooks]."""
        frames, rest = divmod(audio.shape[1], self._config.frame_size)
        assert not rest, f"{audio.shape[1]} samples are not whole frames"
        codes = torch.empty(len(audio), frames, codebooks, dtype=torch.long)
        self._run(self._library.encode, rows, audio.contiguous(), codes)
        return codes

    def prefill(self, audio: Tensor, slot: int, frame: int) -> None:
        """`slot`, which was reset, hears audio float [1, frames * frame_size], as from frame `frame` on."""
        self._memory.begin_at(slot, 2 * frame)
        for part in audio.split(self._frames * self._config.frame_size, 1):
            self.encode(Rows([slot]), part, 0)


class NativeDecoder(_NativeHalf):
    """`Decoder` in native code."""

    def _packed(self, mimi: Mimi) -> tuple[codec_structures.Decoder, Convolutions]:
        return codec_weights.decoder(self._weights, mimi)

    def let_go(self) -> None:
        """The codec can still encode."""
        release(self._mimi.decoder, self._mimi.decoder_transformer)

    def decode(self, rows: Rows, codes: Tensor) -> Tensor:
        """codes int64 [B, frames, k] to audio float [B, frames * frame_size]; any k from 1 to all codebooks."""
        audio = torch.empty(len(codes), codes.shape[1] * self._config.frame_size)
        self._run(self._library.decode, rows, audio, codes.contiguous())
        return audio

    def prefill(self, codes: Tensor, slot: int, frame: int) -> None:
        """`slot`, which was reset, says codes int64 [1, frames, k], as from frame `frame` on."""
        self._memory.begin_at(slot, 2 * frame)
        for part in codes.split(self._frames, 1):
            self.decode(Rows([slot]), part)


class Memory:
    """What is remembered of every slot: the tails of the convolutions and the ring of the transformer."""

    def __init__(
        self,
        model: codec_structures.CodecTransformer,
        convolutions: Convolutions,
        format: Format,
        slots: int,
        frames: int,
    ) -> None:
        self.position = torch.zeros(slots, dtype=torch.long)
        self.oldest = torch.zeros(slots, dtype=torch.long)
        self.tails = torch.zeros(slots, convolutions.tail_size)
        capacity = model.context + 2 * frames - 1
        self.rings = Rings(model.layer_count, slots, model.head_count, model.head_width, capacity, format)

    def reset(self, slot: int) -> None:
        """What the ring holds stays, finite numbers that take a share of exactly zero."""
        self.position[slot] = self.oldest[slot] = 0
        self.tails[slot] = 0

    def begin_at(self, slot: int, position: int) -> None:
        """A slot that was reset begins there."""
        self.position[slot] = self.oldest[slot] = position

    def call(self, rows: Rows, audio: Tensor, codes: Tensor) -> codec_structures.CodecCall:
        """audio [B, count * frame_size], codes [B, count, codebooks], both contiguous."""
        batch, count, codebooks = codes.shape
        return codec_structures.CodecCall(
            rows.index.data_ptr(), audio.data_ptr(), codes.data_ptr(), self.position.data_ptr(),
            self.oldest.data_ptr(), self.tails.data_ptr(), batch, count, codebooks, self.tails.shape[1],
        )  # fmt: skip


class CodecScratch:
    """What calls work in; grows to the largest one."""

    def __init__(self, weights: Weights, convolutions: Convolutions, rings: Rings, bins: int, threads: int) -> None:
        widest, width = weights.widest, weights.head_width
        self._rows = Scratch(widest, widest, widest, width, own_of(widest, width, rings), threads)
        self._joined, self._bins, self._threads = convolutions.joined, padded(bins, CHANNELS), threads
        self._room = padded(convolutions.room, CHANNELS)
        self._region = padded(self._room + convolutions.region + SLACK, CHANNELS)
        self._batch = self._count = 0

    def of(self, batch: int, count: int) -> codec_structures.CodecWorkspace:
        """For so many streams of so many frames each."""
        if batch > self._batch or count > self._count:
            self._batch, self._count = max(batch, self._batch), max(count, self._count)
            frames, joined = self._batch * self._count, self._joined(self._count) + SLACK
            sizes = self._threads * 4 * self._region, self._batch * joined, frames * self._bins
            self._memory = [torch.zeros(size) for size in sizes]
            addresses = [memory.data_ptr() for memory in self._memory]
            rows = self._rows.of(2 * frames)
            self._struct = codec_structures.CodecWorkspace(rows, *addresses, self._region, joined, self._room)
        return self._struct


def can_code(mimi: Mimi) -> bool:
    """Whether the kernels know this kind of codec."""
    weight, config = mimi.downsample.weight, mimi.config
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and config.dimension % (2 * config.heads) == 0
