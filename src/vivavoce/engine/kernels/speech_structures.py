"""The structs of depformer.h."""

from __future__ import annotations

from ctypes import Structure, c_int32, c_int64, c_void_p, sizeof
from typing import ClassVar

from .structures import Fields, Matrix


class Depformer(Structure):
    _fields_: ClassVar[Fields] = [
        ("layers", c_void_p), ("heads", c_void_p), ("project", Matrix), ("text", c_void_p), ("tables", c_void_p),
        ("schedule", c_void_p),
        *((name, c_int32) for name in (
            "tables_format", "layer_count", "dim", "width", "head_count", "head_dim", "head_width", "codebooks", "card",
            "text_card", "pairs",
        )),
    ]  # fmt: skip


class Speech(Structure):
    _fields_: ClassVar[Fields] = [
        *((name, c_void_p) for name in (
            "heard", "text", "guided", "strength", "temperature", "last", "top_p", "keys", "codes", "projected",
        )),
        ("key_stride", c_int64), ("batch", c_int32), ("rows", c_int32),
    ]  # fmt: skip


def speech_layout() -> int:
    """As `vivavoce_speech_layout` has it."""
    return sizeof(Depformer) * 1000 + sizeof(Speech)
