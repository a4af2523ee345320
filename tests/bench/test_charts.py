"""The charts in docs/ are of the results that are committed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "img"


def test_the_charts_in_the_docs_say_what_the_last_results_say(tmp_path: Path) -> None:
    """Texts alone are compared: another matplotlib draws other lines."""
    subprocess.run([sys.executable, ROOT / "bench" / "charts.py", "--out", tmp_path], check=True, capture_output=True)
    drawn = sorted(tmp_path.iterdir())
    assert [chart.name for chart in drawn] == ["capacity.svg", "confidence.svg", "step.svg"]
    for chart in drawn:
        assert texts(chart) == texts(IMAGES / chart.name)


def test_the_ramp_that_is_drawn_is_the_last_one() -> None:
    runs = [json.loads(line) for line in (ROOT / "bench/results/load.jsonl").read_text().splitlines()]
    capacity = [run["capacity"] for run in runs if "capacity" in run][-1]
    assert any(f"{capacity} kept up" in text for text in texts(IMAGES / "capacity.svg"))


def texts(chart: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", chart.read_text())
