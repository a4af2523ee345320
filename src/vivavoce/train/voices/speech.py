"""Real English and French sentences of the shared data folder that hold no digit word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..audio import load, normalise, trim
from ..corpus import Clip, EngineMissingError, Job, Request, has_digit_word


def jobs(request: Request) -> Iterator[Job]:
    """One clip a sentence, every third held out; the long recordings are all held out."""
    shared = request.shared
    if shared is None or not (shared / "data/speech/manifest.json").is_file():
        raise EngineMissingError("speech needs --shared, a folder that holds data/speech/manifest.json")
    manifest = json.loads((shared / "data/speech/manifest.json").read_text())
    silent = [line for line in manifest if line["lang"] == "fr" or not has_digit_word(line["text"])]
    for index, line in enumerate(silent):
        path = shared / "data/speech" / line["path"]
        yield Job(f"{line['lang']}_{path.stem}", partial(_clip, path, line, index % 3 == 2))
    for path in sorted((shared / "data/long").glob("*.mp3")):
        line = {"speaker": path.stem, "licence": "MIT/Apache-2.0 (delayed-streams-modeling)"}
        yield Job(path.stem, partial(_clip, path, line, True))


def _clip(path: Path, line: dict[str, Any], held: bool) -> list[Clip]:
    audio, _ = trim(normalise(load(path)))
    return [Clip(audio, (), "speech", line["speaker"], line["licence"], held)]
