"""How far the embedded model's confidences are right: `python bench/confidence.py --shared ../shared`.

Takes of the digit corpus that it never learned from, strung together, as they are and in noise; appends a line to
bench/results/confidence.jsonl, of which bench/charts.py draws the last.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from vivavoce.bench.calibration import bins, expected_error, judge
from vivavoce.checkpoints import load_stt
from vivavoce.train import evaluate
from vivavoce.train.corpus import Request
from vivavoce.train.voices import source
from vivavoce.transcriber import Transcriber

HELD = (5, 6, 7)  # takes
NOISE = (None, 10, 5, 0)  # dB


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--shared", type=Path, required=True)
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "confidence.jsonl")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        jobs = source("fsdd")(Request(Path(folder), given.shared, 0))
        takes = [clip for job in jobs if int(job.key.rsplit("_", 1)[-1]) in HELD for clip in job.make()]
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
    with given.out.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line, indent=2))


if __name__ == "__main__":
    main()
