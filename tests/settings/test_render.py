"""What is shown can be read back; the page of docs is what the settings say."""

from __future__ import annotations

import re
from pathlib import Path

from vivavoce.settings import ServeSettings, load
from vivavoce.settings.render import SECTIONS, as_toml, renewed

from .conftest import CONFIGS, Write

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_every_setting_has_its_section_and_its_explanation() -> None:
    listed = [name for _, names in SECTIONS for name in names]
    assert sorted([*listed, "modules"]) == sorted(ServeSettings.model_fields)
    assert all(ServeSettings.model_fields[name].description for name in listed)


def test_what_is_shown_can_be_read_back(toml: Write) -> None:
    flags = {
        "instance_name": 'a "b"\\\n\tcö',
        "origins": "x://x,y://y",
        "static_dir": "/a b",
        "idle_seconds": "0.1",
    }
    first = load(flags, CONFIGS / "unmute" / "stt.toml", environment={})
    first = type(first)(first.settings.model_copy(update={"api_keys": ()}), first.origins)
    again = load(config=toml(as_toml(first)), environment={})
    assert again.settings == first.settings
    assert again.warnings == ()


def test_every_value_is_shown_with_its_origin(toml: Write) -> None:
    path = toml("port = 1\n")
    text = as_toml(load({"slots": "2"}, path, environment={"VIVAVOCE_SEED": "3", "LM_TEMP_TEXT": "0.5"}))
    for line in (
        f"port = 1  # {path}", "slots = 2  # --slots", "seed = 3  # environment VIVAVOCE_SEED",
        "temperature = 0.5  # environment LM_TEMP_TEXT", "silent = false  # default", "# threads is not set  # default",
    ):  # fmt: skip
        assert line in text.splitlines()


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text("utf-8")
    assert "### Limits" in page
    assert page == renewed(page), "run: python -m vivavoce.settings.render docs/configuration.md"


def test_the_examples_of_the_page_can_be_loaded(toml: Write) -> None:
    for example in re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        loaded = load(config=toml(example))
        assert loaded.warnings == ()
        assert [module.slots for module in loaded.settings.served] == [64, 16, 8]
