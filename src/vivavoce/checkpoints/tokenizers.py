"""One tokenizer in two files: sentencepiece's (.model) and Hugging Face's (tokenizer.json)."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sentencepiece

from ..core import CheckpointError

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # kinds of pieces, of sentencepiece_model.proto
UNIGRAM, BPE = 1, 2


def as_json(model: bytes) -> dict[str, Any]:
    """A sentencepiece model in the words of `tokenizers`."""
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    size = pieces.GetPieceSize()
    special = [i for i in range(size) if pieces.IsControl(i) or pieces.IsUnknown(i)]
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(i, pieces.IdToPiece(i)) for i in special],
        "normalizer": None,
        "pre_tokenizer": space,
        "post_processor": None,
        "decoder": space,
        "model": {
            "type": "Unigram",
            "unk_id": pieces.unk_id(),
            "vocab": [[pieces.IdToPiece(i), pieces.GetScore(i)] for i in range(size)],
            "byte_fallback": any(pieces.IsByte(i) for i in range(size)),
        },
    }


def _added(token: int, content: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token, "content": content, **flags, "special": True}


def as_sentencepiece(path: Path) -> bytes:
    """A tokenizer file as a sentencepiece model. Raises CheckpointError."""
    if path.suffix != ".json":
        return path.read_bytes()
    try:
        told = json.loads(path.read_text("utf-8"))
        vocabulary, added = told["model"]["vocab"], told.get("added_tokens") or []
        if isinstance(vocabulary, dict):  # BPE: what was merged first has the smaller id
            scores, kind = {piece: (i, -float(i)) for piece, i in vocabulary.items()}, BPE
        else:
            scores, kind = {piece: (i, float(score)) for i, (piece, score) in enumerate(vocabulary)}, UNIGRAM
        scores |= {one["content"]: (one["id"], scores.get(one["content"], (0, 0.0))[1]) for one in added}
        special = {one["content"] for one in added if one.get("special")}
        listed = sorted((i, piece, score) for piece, (i, score) in scores.items())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a tokenizer.json with a vocabulary ({error!r})") from error
    model = b"".join(_field(1, b"".join(_piece(piece, score, special))) for _, piece, score in listed)
    ids = {name: next((i for i, piece, _ in listed if piece == f"<{name}>"), -1) for name in ("unk", "s", "/s", "pad")}
    numbers = zip((40, 41, 42, 43), ids.values(), strict=True)  # unk_id, bos_id, eos_id, pad_id
    trainer = _number(3, kind) + b"".join(_number(field, i) for field, i in numbers)
    proto = model + _field(2, trainer) + _field(3, _field(1, b"identity"))
    try:
        sentencepiece.SentencePieceProcessor(model_proto=proto)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: sentencepiece cannot tell this vocabulary ({error})") from error
    return proto


def _piece(piece: str, score: float, special: set[str]) -> Iterator[bytes]:
    kind = CONTROL if piece in special else NORMAL
    if piece == "<unk>":
        kind = UNKNOWN
    elif re.fullmatch(r"<0x[0-9A-F]{2}>", piece):
        kind = BYTE
    yield _field(1, piece.encode())
    yield b"\x15" + struct.pack("<f", score)  # field 2, 32 bits
    yield _number(3, kind)


def _field(number: int, content: bytes) -> bytes:
    """Protobuf, with its length before it."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value & (1 << 64) - 1)


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
