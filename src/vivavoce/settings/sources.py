"""What the environment and the user's words say: where a model is, and how the hub is reached. No network here."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..core import CheckpointError

EMBEDDED = Path(__file__).parents[1] / "models"
_REPOSITORY = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+?)(@(?P<revision>[^/\s]+))?(/(?P<file>.+))?")
_EXAMPLES = {"stt": "kyutai/stt-1b-en_fr", "tts": "kyutai/tts-1.6b-en_fr"}
_TRUE = {"1", "ON", "YES", "TRUE"}  # what huggingface_hub takes for true


@dataclass(frozen=True)
class LocalSource:
    """A folder of this machine, and the file in it that was named, if any."""

    folder: Path
    file: str | None = None


@dataclass(frozen=True)
class HubSource:
    """A repository of the hub, perhaps at a revision, perhaps with a file that was named."""

    repository: str  # owner/name
    revision: str | None = None
    file: str | None = None


def locate(source: str | Path | None) -> LocalSource | HubSource:
    """What a model's source stands for.

    A folder or a file in it, `$VAR` and `~` expanded; `hf://owner/name[@revision][/file]`; `owner/name[@revision]`; the
    name of an embedded model; None for the embedded default. Raises CheckpointError for anything else.
    """
    if source is None:
        return LocalSource(embedded())
    text = str(source)
    if text.startswith("hf://"):
        return _hub(text.removeprefix("hf://"), text)
    path = expanded(text)
    if path.is_dir():
        return LocalSource(path)
    if path.is_file():
        return LocalSource(path.parent, path.name)
    if (EMBEDDED / text / "config.json").is_file():
        return LocalSource(EMBEDDED / text)
    if isinstance(source, str) and text.count("/") == 1 and not text.startswith((".", "~", "/", "$")):
        return _hub(text, text)
    raise CheckpointError(f"{text}: no such folder or file, and not the name of a repository (owner/name)")


def _hub(name: str, text: str) -> HubSource:
    match = _REPOSITORY.fullmatch(name)
    if match is None:
        raise CheckpointError(f"{text}: expected hf://owner/name, hf://owner/name@revision or hf://owner/name/file")
    return HubSource(match["repo"], match["revision"], match["file"])


def embedded(kind: str = "stt") -> Path:
    """The folder of the model that ships with the package; `kind` is stt or tts."""
    folders = _embedded(kind)
    if not folders:
        raise CheckpointError(
            f"this installation has no embedded {kind} model; name one, for example {_EXAMPLES[kind]}"
        )
    return folders[0]


def has_embedded(kind: str) -> bool:
    """Whether there is such a folder."""
    return bool(_embedded(kind))


def _embedded(kind: str) -> list[Path]:
    return sorted(config.parent for config in EMBEDDED.glob(f"{kind}-*/config.json"))


def expanded(path: str) -> Path:
    """`$VAR` and `~` replaced."""
    return Path(os.path.expandvars(path)).expanduser()


def hub_endpoint() -> str:
    """HF_ENDPOINT, or the public hub."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def hub_token() -> str | None:
    """HF_TOKEN."""
    return os.environ.get("HF_TOKEN") or None


def hub_offline() -> bool:
    """HF_HUB_OFFLINE."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE


def hub_cache() -> Path:
    """The folder where repositories are kept: HF_HUB_CACHE, or `hub` in HF_HOME."""
    if folder := os.environ.get("HF_HUB_CACHE"):
        return expanded(folder)
    default = expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return expanded(os.environ.get("HF_HOME") or str(default)) / "hub"
