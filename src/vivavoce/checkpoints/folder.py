"""Where a checkpoint's files are: a local folder, or a repository of the hub, fetched file by file when asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ..core import CheckpointError
from ..settings import HubSource, locate


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
            named = self.path / self.weights if self.weights else self.path
            raise CheckpointError(f"{named}: {file} is missing" + (" beside it" if self.weights else ""))
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


def open_folder(source: str | Path | None) -> Folder:
    """The folder that a model's source names; see `settings.locate` for the forms. No network."""
    where = locate(source)
    file = None if where.file is None or where.file.endswith(".json") else where.file
    if isinstance(where, HubSource):
        return HubFolder(where.repository, where.revision, file)
    return LocalFolder(where.folder, file)


def open_pinned(source: str | Path | None) -> Folder:
    """`open_folder`, with a repository at the commit that it stands at now."""
    folder = open_folder(source)
    return folder.pinned() if isinstance(folder, HubFolder) else folder
