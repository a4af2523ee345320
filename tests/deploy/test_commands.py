"""What the pages of deploy/ tell a reader to type exists: verbs, flags, settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from vivavoce.cli import VERBS, app
from vivavoce.settings import ServeSettings

from . import DEPLOY

PAGES = sorted(DEPLOY.glob("*/README.md"))
COMMAND = re.compile(r"(?:^|[\s`/])vivavoce ((?:[a-z][a-z-]*)(?: [^`\n|&;]*)?)", re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    """The words behind `vivavoce` wherever the page shows code."""
    text = page.read_text()
    code = [*re.findall(r"```sh\n(.*?)```", text, re.DOTALL), *re.findall(r"`(vivavoce [^`]+)`", text)]
    joined = "\n".join(code).replace("\\\n", " ")
    return [found.split() for found in COMMAND.findall(joined) if found.split()[0] in VERBS]


def options(verb: str, sub: str | None) -> set[str]:
    """Every flag of a verb, or of what is under it."""
    root = get_command(app)
    command = root.get_command(None, verb)  # type: ignore[attr-defined]
    if sub is not None and hasattr(command, "get_command"):
        command = command.get_command(None, sub) or command
    return {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_every_flag_that_a_page_names_exists(page: Path) -> None:
    for verb, *rest in commands(page):
        known = options(verb, rest[0] if rest and not rest[0].startswith("-") else None) | options("serve", None)
        for word in rest:
            if word.startswith("--") and word != "--":
                assert word.split("=")[0] in known, f"vivavoce {verb} {' '.join(rest)}"


@pytest.mark.parametrize("path", [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()], ids=lambda p: p.name)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    own = {"site", "upstream", "api_key"}  # of the proxies and of the smoke test
    for name in re.findall(r"\bVIVAVOCE_([A-Z_]+)", path.read_text()):
        assert name.lower() in own | set(ServeSettings.model_fields), name
