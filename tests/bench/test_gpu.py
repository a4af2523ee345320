"""bench/gpu.py from beginning to end with very small networks, so that a GPU's first minute finds no fault in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("triton", reason="bench/gpu.py needs Triton, which PyPI has for Linux")
pytest.importorskip("moshi", reason="the peer is not installed: make test installs it")

SCRIPT = Path(__file__).parents[2] / "bench" / "gpu.py"
PARTS = [
    "Machine", "Parity", "Steps, 8 bits", "Peer", "Steps, 16 bits", "Steps, packed weights", "Steps, codec in fp16",
    "Logits", "Products", "Attention",
]  # fmt: skip


def test_every_part_is_measured_and_told(tmp_path: Path) -> None:
    speech = tmp_path / "speech.npy"
    np.save(speech, (np.random.default_rng(0).standard_normal(1920 * 40) * 0.1).astype(np.float16))
    command = [sys.executable, SCRIPT, "--tiny", "--speech", speech, "--out", tmp_path]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told = json.loads((tmp_path / "gpu.json").read_text())
    assert [*told] == [*PARTS, "faults"]
    assert not told["faults"]
    assert all(told[part] for part in PARTS)
    assert told["Parity"][0]["tokens"] == told["Parity"][0]["steps"] > 0
    assert "int8" in {row["weights"] for row in told["Parity"]}
    assert {row["weights"] for row in told["Steps, packed weights"]} == {"int8"}
    assert {row["batch"] for row in told["Steps, 16 bits"]} == {1, 2}
    assert all(row["floor"] < row["p50"] <= row["p95"] for row in told["Steps, 8 bits"])
    assert [row["batch"] for row in told["Peer"]][:2] == [1, 2]
    tables = (tmp_path / "gpu.md").read_text()
    assert all(f"## {part}\n" in tables for part in PARTS)
    assert (tmp_path / "profile.txt").stat().st_size > 1000
