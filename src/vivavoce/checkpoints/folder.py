"""Where a checkpoint's files are: a local folder, or a repository of the hub, fetched file by file when asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ..core import CheckpointError

EMBEDDED = Path(__file__).parents[1] / "models"
_REPOSITORY = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+?)(@(?P<revision>[^/\s]+))?(/(?P<file>.+))?")


class Folder(Protocol):
    """Gives local paths of files by name."""

    @property
    def name(self) -> str:
        """What to call the model."""

    @property
    def weights(self) -> str | None:
        """The file of weights that was asked for by name."""

    def find(self, file: str) -> Path | None:
        """The file, or None where it does not exist."""

    def get(self, file: str) -> Path:
        """The file, which must exist."""


@dataclass(frozen=True)
class LocalFolder:
    path: Path
    weights: str | None = None

    @property
    def name(self) -> str:
        return self.path.resolve().name

    def find(self, file: str) -> Path | None:
        path = self.path / file
        return path if path.is_file() else None

    def get(self, file: str) -> Path:
        path = self.find(file)
        if path is None:
            raise CheckpointError(f"{self.path}: {file} is missing")
        return path


@dataclass(frozen=True)
class HubFolder:
    """Imports the hub's client only when asked for a file: it is slow, and local models do without."""

    name: str  # owner/name
    revision: str | None = None
    weights: str | None = None

    def find(self, file: str) -> Path | None:
        from . import hub

        return hub.find(self.name, file, self.revision)

    def get(self, file: str) -> Path:
        from . import hub

        return hub.fetch(self.name, file, self.revision)

    def pinned(self) -> HubFolder:
        """The same at the commit that the revision stands for now, so that all files are of one state."""
        return replace(self, revision=self.get("config.json").parent.name)


def resolve(source: str | Path | None) -> Folder:
    """The folder that a model's source names; see `load_stt` for the forms. No network."""
    if source is None:
        return LocalFolder(embedded())
    text = str(source)
    path = Path(text).expanduser()
    if text.startswith("hf://"):
        return _hub(text.removeprefix("hf://"), text)
    if path.is_dir():
        return LocalFolder(path)
    if path.is_file():
        return LocalFolder(path.parent, None if path.suffix == ".json" else path.name)
    if (EMBEDDED / text / "config.json").is_file():
        return LocalFolder(EMBEDDED / text)
    if isinstance(source, str) and text.count("/") == 1 and not text.startswith((".", "~", "/")):
        return _hub(text, text)
    raise CheckpointError(f"{text}: no such folder or file, and not the name of a repository (owner/name)")


def embedded() -> Path:
    """The folder of the model that ships with the package."""
    folders = sorted(config.parent for config in EMBEDDED.glob("*/config.json"))
    if not folders:
        raise CheckpointError("this installation has no embedded model; name one, for example kyutai/stt-1b-en_fr")
    return folders[0]


def _hub(name: str, text: str) -> HubFolder:
    match = _REPOSITORY.fullmatch(name)
    if match is None:
        raise CheckpointError(f"{text}: expected hf://owner/name, hf://owner/name@revision or hf://owner/name/file")
    file = match["file"]
    return HubFolder(match["repo"], match["revision"], file if file and not file.endswith(".json") else None)
