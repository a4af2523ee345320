"""The structs of codec.h."""

from __future__ import annotations

from ctypes import Structure, c_float, c_int32, c_int64, c_void_p, sizeof
from typing import ClassVar

from .structures import Fields, Matrix, Workspace


class Conv(Structure):
    _fields_: ClassVar[Fields] = [
        ("w", Matrix), ("bias", c_void_p), ("sums", c_void_p), *((name, c_int32) for name in (
            "step", "kept", "tail", "width", "rows", "buffer",
        )),
    ]  # fmt: skip


class CodecLayer(Structure):
    _fields_: ClassVar[Fields] = [
        *((name, c_void_p) for name in ("norm1", "bias1", "norm2", "bias2")),
        *((name, Matrix) for name in ("qkv", "out", "inner", "outer")),
    ]  # fmt: skip


class CodecTransformer(Structure):
    _fields_: ClassVar[Fields] = [
        ("layers", c_void_p), ("frequencies", c_void_p),
        *((name, c_int32) for name in (
            "layer_count", "dim", "width", "head_count", "head_dim", "head_width", "context",
        )),
    ]  # fmt: skip


class Book(Structure):
    _fields_: ClassVar[Fields] = [
        ("w", Matrix), ("entries", c_void_p), ("halves", c_void_p), ("rounded", c_float), ("longest", c_float),
    ]  # fmt: skip


class Quantiser(Structure):
    _fields_: ClassVar[Fields] = [
        ("books", c_void_p), ("project", Matrix), *((name, c_int32) for name in ("codebooks", "bins", "width")),
    ]  # fmt: skip


class Encoder(Structure):
    _fields_: ClassVar[Fields] = [
        ("convs", c_void_p), ("transformer", CodecTransformer), ("quantiser", Quantiser), ("stages", c_int32),
        ("frame_size", c_int32),
    ]  # fmt: skip


class Decoder(Structure):
    _fields_: ClassVar[Fields] = [
        ("convs", c_void_p), ("entries", c_void_p), ("project", Matrix), ("upsample", c_void_p),
        ("transformer", CodecTransformer),
        *((name, c_int32) for name in ("codebooks", "bins", "width", "stages", "frame_size", "upsample_tail")),
    ]  # fmt: skip


class CodecCall(Structure):
    _fields_: ClassVar[Fields] = [
        *((name, c_void_p) for name in ("slots", "audio", "codes", "position", "oldest", "tails")),
        *((name, c_int32) for name in ("batch", "count", "codebooks", "tail_size")),
    ]  # fmt: skip


class CodecWorkspace(Structure):
    _fields_: ClassVar[Fields] = [
        ("rows", Workspace), *((name, c_void_p) for name in ("lanes", "joined", "scores")),
        ("region", c_int64), ("joined_stride", c_int64), ("room", c_int64),
    ]  # fmt: skip


def codec_layout() -> int:
    """As `vivavoce_codec_layout` has it."""
    first = (sizeof(Conv) * 1000 + sizeof(CodecLayer)) * 1000 + sizeof(CodecTransformer)
    second = (sizeof(Book) + sizeof(Encoder) + sizeof(Decoder)) * 1000 + sizeof(CodecCall)
    return first * 10**9 + second * 1000 + sizeof(CodecWorkspace)
