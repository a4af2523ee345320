"""The recording that ships with the project, and what is said in it."""

from __future__ import annotations

from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "digits.flac"  # 11.5 s
WORDS = EXAMPLE.with_suffix(".txt").read_text().replace(",", "").replace(".", "").split()
SAID = " ".join(WORDS)
