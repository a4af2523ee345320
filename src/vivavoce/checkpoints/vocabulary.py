"""The text vocabulary: the pieces of a sentencepiece model by token id."""

from __future__ import annotations

import json
import string
from pathlib import Path

import sentencepiece

from ..core import CheckpointError

BEGIN, MARKS = "▁", ",.;!?"  # of a word, behind one


def read_pieces(path: Path, size: int) -> tuple[str, ...]:
    """The `size` pieces of a tokenizer file, sentencepiece (.model) or Hugging Face (tokenizer.json)."""
    pieces = _from_json(path) if path.suffix == ".json" else _from_sentencepiece(path)
    if len(pieces) != size:
        raise CheckpointError(f"{path}: the tokenizer has {len(pieces)} pieces, but the model predicts {size}")
    return pieces


def read_tokenizer(path: Path, size: int) -> sentencepiece.SentencePieceProcessor:
    """The tokenizer of a model that knows `size` pieces, from a sentencepiece file."""
    processor = _sentencepiece(path)
    if processor.GetPieceSize() != size:
        raise CheckpointError(
            f"{path}: the tokenizer has {processor.GetPieceSize()} pieces, but the model hears {size}"
        )
    return processor


def words_of(tokenizer: sentencepiece.SentencePieceProcessor) -> tuple[str, ...]:
    """The words, in small letters and figures, of a tokenizer that knows whole words alone; () for one that spells."""
    known = (i for i in range(tokenizer.GetPieceSize()) if not (tokenizer.IsControl(i) or tokenizer.IsUnknown(i)))
    pieces = [tokenizer.IdToPiece(i) for i in known]
    if not all(piece.startswith(BEGIN) and piece.strip(BEGIN + MARKS) for piece in pieces):
        return ()
    figures = [figure for figure in string.digits if tokenizer.unk_id() not in tokenizer.Encode(figure)]
    return tuple(dict.fromkeys([piece.strip(BEGIN + MARKS) for piece in pieces] + figures))


def _from_sentencepiece(path: Path) -> tuple[str, ...]:
    processor = _sentencepiece(path)
    return tuple(processor.IdToPiece(list(range(processor.GetPieceSize()))))


def _sentencepiece(path: Path) -> sentencepiece.SentencePieceProcessor:
    processor = sentencepiece.SentencePieceProcessor()
    try:
        content = path.read_bytes()
        if not content:  # would parse as a vocabulary without pieces
            raise CheckpointError(f"{path}: the tokenizer file is empty")
        processor.LoadFromSerializedProto(content)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a sentencepiece tokenizer ({error})") from error
    return processor


def _from_json(path: Path) -> tuple[str, ...]:
    """The `tokenizers` format: model.vocab is a list of [piece, score] (unigram) or an object of ids (BPE)."""
    try:
        content = json.loads(path.read_text("utf-8"))
        vocabulary = content["model"]["vocab"]
        ids = dict(vocabulary) if isinstance(vocabulary, dict) else {entry[0]: i for i, entry in enumerate(vocabulary)}
        ids |= {token["content"]: token["id"] for token in content.get("added_tokens") or []}
        by_id = {i: piece for piece, i in ids.items()}
        return tuple(by_id[i] for i in range(len(by_id)))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise CheckpointError(f"{path}: not a tokenizer.json with a vocabulary ({error!r})") from error
