"""Ears that are not ours: the Moonshine recogniser (Useful Sensors, MIT), which knows English and not our voices."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from vivavoce.core import SAMPLE_RATE, UnsupportedError

from .audio import bounds, cut
from .corpus import DIGITS, Audio

RATE = 16_000
WHERE = "MOONSHINE_DIR"
SIZES = ("tiny", "base")
START, STOP = 1, 2
MOST = 7  # tokens a second; beyond that it repeats itself
# It invents telephone numbers, or writes nothing at all, where a recording is cut close or ends in digital silence.
QUIET = 0.1  # seconds kept around the sound, and again of faint noise around that
FLOOR = 1e-4
_SAME_SOUND = {"to": "two", "too": "two", "for": "four", "fore": "four", "won": "one", "ate": "eight"}


class Moonshine:
    """One size of the recogniser, on one thread."""

    def __init__(self, size: str = "base") -> None:
        try:
            import onnxruntime  # type: ignore[import-untyped, import-not-found, unused-ignore]
        except ImportError:
            raise UnsupportedError("the judge needs `pip install 'vivavoce[train]'`") from None
        folder, options = _folder() / size / "quantized", onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(str(folder / f"{part}.onnx"), options, ["CPUExecutionProvider"])
            for part in ("encoder_model", "decoder_model_merged")
        )
        caches = [i for i in self._decoder.get_inputs() if i.name.startswith("past_key_values")]
        self._empty = {i.name: np.zeros((0, i.shape[1], 1, i.shape[3]), np.float32) for i in caches}

    def hear(self, audio: Audio) -> str:
        """What it writes for samples [n] at 24 kHz, greedily."""
        narrow = soxr.resample(_framed(audio), SAMPLE_RATE, RATE).astype(np.float32)
        heard = self._encoder.run(None, {"input_values": narrow[None]})[0]
        tokens, past = [START], self._empty
        while tokens[-1] != STOP and len(tokens) <= MOST * len(narrow) / RATE:
            first = len(tokens) == 1
            given: dict[str, Any] = {"input_ids": [[tokens[-1]]], "encoder_hidden_states": heard}
            logits, *present = self._decoder.run(None, given | {"use_cache_branch": [not first]} | past)
            tokens.append(int(logits[0, -1].argmax()))
            new = zip(past, present, strict=True)
            past = {name: cache if first or ".decoder." in name else past[name] for name, cache in new}
        return _text(tokens)


def digit_words(text: str) -> list[str]:
    """What a text says, word by word: figures are read one by one, and words that sound like digits are digits."""
    words = re.findall(r"\d|[a-z']+", text.lower())
    return [DIGITS[int(word)] if word.isdigit() else _SAME_SOUND.get(word, word) for word in words]


def _framed(audio: Audio) -> Audio:
    loud, _ = cut(audio, *bounds(audio), margin=QUIET)
    framed = np.pad(loud, round(QUIET * SAMPLE_RATE))
    return framed + np.random.default_rng(0).normal(0, FLOOR, len(framed)).astype(np.float32)


def _folder() -> Path:
    folder = Path(os.environ.get(WHERE, "")) / "dist" / "model"
    if not os.environ.get(WHERE) or not folder.is_dir():
        raise UnsupportedError(
            f"run `npm pack @usefulsensors/moonshine-js@0.1.14`, unpack it and set {WHERE} to its folder `package`"
        )
    return folder


def _text(tokens: list[int]) -> str:
    pieces = _pieces()
    return "".join(pieces[token] for token in tokens if token > STOP).replace("▁", " ").strip()


@cache
def _pieces() -> dict[int, str]:
    found = find_spec("moonshine_onnx")
    if found is None or found.origin is None:
        raise UnsupportedError("the judge needs `pip install --no-deps useful-moonshine-onnx`, for its tokenizer")
    model = json.loads(Path(found.origin).with_name("assets").joinpath("tokenizer.json").read_text("utf-8"))["model"]
    return {number: piece for piece, number in model["vocab"].items()}
