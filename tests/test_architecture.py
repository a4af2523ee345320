"""The import rule: a room imports only from the rooms above it (docs/architecture.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vivavoce

PACKAGE = Path(vivavoce.__file__).parent
ROOMS = [
    "core", "settings", "audio", "nn", "checkpoints", "engine", "session", "subtitles", "runtime", "accounts", "server",
    "client", "transcriber", "synthesizer", "bench", "train", "tools", "cli",
]  # fmt: skip
OUTSIDE = {  # libraries that a room must not touch
    "core": {"torch", "numpy"},
    "audio": {"torch"},
    "session": {"torch", "asyncio", "socket", "time", "threading"},
    "engine": {"asyncio", "socket", "time", "threading"},
    "nn": {"threading", "pathlib", "os"},
    "accounts": {"torch", "starlette", "socket"},
    "server": {"torch"},
    "client": {"torch"},
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Absolute names of everything a file imports, wherever in the file."""
    package = ["vivavoce", *path.relative_to(PACKAGE).parts[:-1]]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return names


def rooms_imported(path: Path) -> set[str]:
    inside = {name.split(".")[1] for name in imports(path) if name.startswith("vivavoce.")}
    return inside & {*ROOMS}


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if room_of(path) not in ("__init__", "__main__")]


def test_every_room_has_its_place_in_the_table() -> None:
    assert {room_of(path) for path in FILES} <= set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_from_rooms_above_its_own(path: Path) -> None:
    room = room_of(path)
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    assert rooms_imported(path) <= allowed
    libraries = {name.split(".")[0] for name in imports(path)}
    assert not libraries & OUTSIDE.get(room, set())


@pytest.mark.parametrize(
    "module",
    [
        "vivavoce", "vivavoce.core", "vivavoce.audio", "vivavoce.session", "vivavoce.cli", "vivavoce.runtime",
        "vivavoce.server", "vivavoce.server.serving", "vivavoce.client", "vivavoce.accounts.accounts",
        "vivavoce.server.accounts.serving",
    ],
)  # fmt: skip
def test_importing_what_needs_no_model_does_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("module", ["vivavoce.server.serving", "vivavoce.server.gate", "vivavoce.cli.accounts"])
def test_without_accounts_their_extra_is_not_imported(module: str) -> None:
    code = f"import sys, {module}; sys.exit(not {{'sqlalchemy', 'alembic', 'argon2'}}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
