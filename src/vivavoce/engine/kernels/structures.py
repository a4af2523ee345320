"""The structs of model.h, and that of packing.h."""

from __future__ import annotations

from ctypes import Structure, c_int32, c_int64, c_void_p, sizeof
from typing import ClassVar

Fields = list[tuple[str, type]]


class Matrix(Structure):
    _fields_: ClassVar[Fields] = [
        ("data", c_void_p), ("scales", c_void_p), ("format", c_int32), ("outputs", c_int32), ("inputs", c_int32),
    ]  # fmt: skip


class Packing(Structure):
    _fields_: ClassVar[Fields] = [
        *((name, c_void_p) for name in ("source", "data", "scales", "scratch")),
        *((name, c_int32) for name in ("source_format", "format", "rows", "columns", "outputs", "inputs")),
    ]  # fmt: skip


class Layer(Structure):
    _fields_: ClassVar[Fields] = [
        ("norm1", c_void_p), ("norm2", c_void_p), ("qkv", Matrix), ("out", Matrix), ("inner", Matrix),
        ("outer", Matrix), ("norm_cross", c_void_p), ("bias_cross", c_void_p), ("cross_query", Matrix),
        ("cross_out", Matrix),
    ]  # fmt: skip


class Model(Structure):
    _fields_: ClassVar[Fields] = [
        ("layers", c_void_p), ("norm", c_void_p), ("heads", Matrix), ("embeddings", c_void_p),
        ("frequencies", c_void_p), ("pairs", c_void_p),
        *((name, c_int32) for name in (
            "embeddings_format", "layer_count", "dim", "width", "head_count", "head_dim", "head_width", "codebooks",
            "card", "text_card", "context", "text_count", "pause_heads", "pause_classes",
        )),
    ]  # fmt: skip


class Memory(Structure):
    _fields_: ClassVar[Fields] = [
        *((name, c_void_p) for name in ("keys", "values", "key_scales", "value_scales", "least")),
        *((name, c_int32) for name in ("format", "slots", "capacity", "padded")),
    ]  # fmt: skip


class Call(Structure):
    _fields_: ClassVar[Fields] = [
        *((name, c_void_p) for name in (
            "slots", "text", "codes", "position", "oldest", "logits", "token", "norm", "logprob", "pauses", "heard",
            "added", "source",
        )),
        ("batch", c_int32), ("count", c_int32),
    ]  # fmt: skip


class Workspace(Structure):
    _fields_: ClassVar[Fields] = [
        *((name, c_void_p) for name in (
            "hidden", "wide", "attended", "cosine", "sine", "packed", "scales", "sums", "own",
        )),
        ("own_stride", c_int64), ("widest", c_int32),
    ]  # fmt: skip


def layout() -> int:
    """As `vivavoce_layout` has it."""
    first = (sizeof(Matrix) * 1000 + sizeof(Layer)) * 1000 + sizeof(Model)
    return first * 10**9 + (sizeof(Memory) * 1000 + sizeof(Call)) * 1000 + sizeof(Workspace)
