"""How far the embedded model's confidences are right: `python bench/confidence.py --shared ../shared`.

Takes of the digit corpus that it never learned from, strung together, as they are and in noise; appends a line to
bench/results/confidence.jsonl, of which bench/charts.py draws the last.
"""

from __future__ import annotations

from dataclasses import asdict

from held import held, options, record

from vivavoce.bench.calibration import bins, expected_error, judge
from vivavoce.checkpoints import load_stt
from vivavoce.train import evaluate
from vivavoce.transcriber import Transcriber

NOISE = (None, 10, 5, 0)  # dB


def main() -> None:
    given = options(__doc__, "confidence.jsonl")
    takes = held(given.shared)
    strings = [string for seed in (1, 2, 3, 4) for string in evaluate.strung(takes, seed)]
    transcriber, words, parts = Transcriber(load_stt(device="cpu"), batch_size=16), [], {}
    for level in NOISE:
        said = strings if level is None else evaluate.noisy(strings, level, seed=2)
        heard = evaluate.transcribe(transcriber, [string.audio for string in said])
        told = [
            word
            for string, found in zip(said, heard, strict=True)
            for word in judge(" ".join(text for text, _, _ in string.words), found)
        ]
        parts["quiet" if level is None else f"{level} dB"] = expected_error(told)
        words += told
    line = {
        "model": transcriber.name, "words": len(words), "right": sum(right for _, right in words) / len(words),
        "error": expected_error(words), "parts": parts, "bins": [asdict(one) for one in bins(words)],
    }  # fmt: skip
    record(line, given.out)


if __name__ == "__main__":
    main()
