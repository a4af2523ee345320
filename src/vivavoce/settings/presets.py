"""Settings that ship with the package, by name."""

from __future__ import annotations

from pathlib import Path

from .errors import SettingsError

FOLDER = Path(__file__).with_name("presets")


def preset_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def preset_file(name: str) -> Path:
    """Raises SettingsError for an unknown name."""
    if name not in preset_names():
        raise SettingsError(f"--preset should be one of {', '.join(preset_names())}, found {name!r}")
    return FOLDER / f"{name}.toml"
