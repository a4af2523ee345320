"""The units that are shipped are what `vivavoce install-service` writes."""

from __future__ import annotations

import pytest

from vivavoce.tools.service import Plan, Systemd

from . import DEPLOY

PYTHON = "/opt/vivavoce/bin/python"
CONTAINER = ("--addr", "0.0.0.0", "--model", "kyutai/stt-1b-en_fr-candle", "--slots", "64")


@pytest.mark.parametrize(
    ("place", "plan"),
    [
        ("systemd", Plan(python=PYTHON)),
        ("proxmox", Plan(python=PYTHON, gpu=True, options=CONTAINER)),
    ],
)
def test_a_shipped_unit_is_the_one_that_is_installed(place: str, plan: Plan) -> None:
    assert (DEPLOY / place / "vivavoce.service").read_text() == Systemd(plan).text
