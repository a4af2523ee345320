"""docs/operations.md tells what the code does: its metrics, its limits."""

from __future__ import annotations

import re
from pathlib import Path

from vivavoce.runtime import Metrics
from vivavoce.settings import Limits, ServeSettings

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_series_is_told_and_no_other() -> None:
    rows = re.findall(r"^\| (`(?:asr|py|vivavoce)_.*?) \|", section("Metrics"), re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert told == {family.name for family in Metrics().registry.collect()}


def test_limits_are_told_with_their_defaults() -> None:
    settings = ServeSettings(port=0)
    units = {"message_bytes": 2**20, "upload_bytes": 2**20}
    told = re.findall(r"`(\w+)` (\d[\d.]*)", section("Limits") + section("What survives what"))
    assert len(told) > 10
    for name, value in told:
        assert float(value) * units.get(name, 1) == getattr(settings, name), name


def test_every_limit_is_told() -> None:
    exempt = {"ping_seconds"}  # nothing ends by it
    missing = {name for name in Limits.model_fields if f"`{name}`" not in PAGE}
    assert missing <= exempt
