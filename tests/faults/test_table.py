"""The table of faults names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "bench" / "results" / "faults.md"


def names_in(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_every_test_of_the_table_exists_and_every_test_of_this_folder_is_in_it() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TABLE.read_text())
    assert named
    for path, name in named:
        assert name in names_in(ROOT / path), f"{path} has no {name}"
    for file in ("test_clients.py", "test_engine.py"):
        ours = {name for name in names_in(Path(__file__).with_name(file)) if name.startswith("test_")}
        assert ours <= {name for _, name in named}
