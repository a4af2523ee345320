"""Whatever stands where something else belongs is an error of one line, or taken; never a traceback."""

from __future__ import annotations

import copy
import json
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vivavoce.settings import SettingsError, load
from vivavoce.settings.render import as_toml

from .conftest import CONFIGS

FILES = [tomllib.loads(path.read_text()) for path in sorted(CONFIGS.rglob("*.toml"))]
OWN = tomllib.loads(as_toml(load({}, environment={}, dotenv=None)))
FILES.append({**OWN, "modules": {"a": {"type": "stt", "path": "/a", "slots": 2, "lm_file": "x", "temperature": 0.5}}})
scalars = st.one_of(
    st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5), st.just("hf://x"), st.just("$X")
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)


def places(table: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for key, value in table.items():
        yield table, key
        if isinstance(value, dict):
            yield from places(value)


def written(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written(key)} = {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, float):
        return repr(value)
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def quoted(text: str) -> str:
    plain = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(plain.get(c, c if c.isprintable() else f"\\U{ord(c):08x}") for c in text) + '"'


@given(st.data())
def test_any_value_at_any_place(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from(FILES)))
    table, key = data.draw(st.sampled_from(list(places(document))))
    if data.draw(st.booleans()):
        table[key] = data.draw(values)
    else:
        table[data.draw(st.text(max_size=3))] = table.pop(key)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "c.toml")
        config.write_text("".join(f"{quoted(key)} = {written(value)}\n" for key, value in document.items()), "utf-8")
        line, shown = outcome(config)
    assert (line is None) != (shown is None)
    assert line is None or (line and "\n" not in line)
    if shown is not None:
        tomllib.loads(shown)


def outcome(config: Path) -> tuple[str | None, str | None]:
    """The error's line, or the settings as TOML."""
    try:
        return None, as_toml(load(config=config, environment={"HOME": "/home/me"}, dotenv=None))
    except SettingsError as error:
        return str(error), None
