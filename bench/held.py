"""Speech that the embedded model never learned from, and what the measurements of it are told and tell."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from vivavoce.train.corpus import Clip, Request
from vivavoce.train.voices import source

TAKES = (5, 6, 7)
RESULTS = Path(__file__).parent / "results"


def options(description: str, results: str) -> argparse.Namespace:
    """`shared` and `out` of the command line; `description` is a script's docstring, `results` a file of RESULTS."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--out", type=Path, default=RESULTS / results, help="file that gets another line")
    return parser.parse_args()


def record(line: dict[str, Any], out: Path) -> None:
    """Append a line to a file of results, and print it."""
    with out.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line, indent=2))


def held(shared: Path) -> list[Clip]:
    """The takes of the digit corpus that were held out; `shared` is the folder of recordings."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = source("fsdd")(Request(Path(folder), shared, 0))
        return [clip for job in jobs if int(job.key.rsplit("_", 1)[-1]) in TAKES for clip in job.make()]
