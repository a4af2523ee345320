"""Finding a model pays for nothing that only the server needs."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import vivavoce.settings as s; s.locate(None), s.hub_cache()", {"pydantic", "dotenv"}),
        ("from vivavoce.settings import Limits, ServeSettings, load; load(preset='embedded')", {"torch", "numpy"}),
    ],
)
def test_what_is_not_imported(code: str, absent: set[str]) -> None:
    code = f"import sys; {code}; sys.exit(bool({absent} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
