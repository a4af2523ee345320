"""How good speech sounds, by DNSMOS P.835 (Microsoft, MIT): a network trained on what people said of recordings."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soxr

from vivavoce.core import SAMPLE_RATE, UnsupportedError

from .corpus import Audio

RATE = 16_000
WINDOW = 144_160  # samples that the network hears at a time, 9.01 s; shorter recordings are repeated


class Quality(NamedTuple):
    """Mean opinion scores, 1 to 5."""

    overall: float
    signal: float
    background: float


def quality(audio: Audio) -> Quality:
    """Judge samples [n] at 24 kHz, by windows of nine seconds, one a second."""
    narrow = np.clip(soxr.resample(audio, SAMPLE_RATE, RATE), -1, 1).astype(np.float32)
    narrow = np.tile(narrow, -(-WINDOW // len(narrow)))
    starts = range(0, len(narrow) - WINDOW + 1, RATE)
    raw = np.stack([_network().run(None, {"input_1": narrow[None, at : at + WINDOW]})[0][0] for at in starts])
    signal, background, overall = raw.astype(np.float64).T
    # The polynomials that its authors fit to people's scores (speechmos.dnsmos).
    return Quality(
        float(np.polyval([-0.06766283, 1.11546468, 0.04602535], overall).mean()),
        float(np.polyval([-0.08397278, 1.22083953, 0.0052439], signal).mean()),
        float(np.polyval([-0.13166888, 1.60915514, -0.39604546], background).mean()),
    )


@cache
def _network() -> Any:
    found = find_spec("speechmos")
    try:
        import onnxruntime  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        found = None
    if found is None or found.origin is None:
        raise UnsupportedError("DNSMOS needs `pip install onnxruntime` and `pip install --no-deps speechmos`")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = Path(found.origin).with_name("dnsmos_models") / "sig_bak_ovr.onnx"
    return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
