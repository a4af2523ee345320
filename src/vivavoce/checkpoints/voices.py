"""The voices that a model can speak with, by name."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Iterator
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from ..core import CheckpointError, UnknownVoiceError
from ..settings.sources import expanded
from .tts_model import TtsConfig
from .voice_file import RECORDINGS, check_voice, no_recording, read_voice

HUB = "hf-snapshot://"
CACHED = 16  # voices kept in memory, 256 kB each

log = logging.getLogger(__name__)


class Voices:
    """The voices of a folder, found when it is opened; one is read when it is asked for.

    For a model with speaker embeddings: each file whose name ends in `config.voice_suffix` is the voice of that name
    without it, relative to the folder ("expresso/happy.wav"). For one without (`dim` 0): each recording, by its name.
    A file that holds no voice is left out with a warning, as is a link that leads out of the folder.

    `get` and `path` take names from outside: they look them up among those found and never make a path of them.

    Raises CheckpointError when there is no voice at all or none named `default`, whose default is the first by name.
    """

    def __init__(
        self, folder: Path, config: TtsConfig, dim: int, default: str | None = None, *, only: str = "*"
    ) -> None:
        self._config, self._dim = config, dim
        self._paths = dict(sorted(self._find(folder, only)))
        self._cache = OrderedDict[str, NDArray[np.float32]]()
        if not self._paths:
            what = f"files that end in {config.voice_suffix}" if dim else "recordings"
            raise CheckpointError(f"{folder}: no voices for {config.name} ({what})")
        self.default = default or next(iter(self._paths))
        if self.default not in self._paths:
            raise CheckpointError(f"{folder}: the default voice {self._unknown(self.default)}")

    @classmethod
    def open(cls, source: str | Path, config: TtsConfig, dim: int, default: str | None = None) -> Voices:
        """The voices of a folder (`$VAR` and `~` expanded), or of `hf-snapshot://owner/name[/glob]`, then fetched.

        Raises CheckpointError, and DownloadError for the hub.
        """
        text = str(source)
        if text.startswith(HUB):
            owner, name, *glob = [*text.removeprefix(HUB).split("/", 2), ""]
            if not (owner and name):
                raise CheckpointError(f"{text}: expected {HUB}owner/name or {HUB}owner/name/glob")
            from . import hub  # slow to import

            only = glob[0].replace("**/*", "*") or f"*{config.voice_suffix}"  # here `*` matches `/` too
            return cls(hub.snapshot(f"{owner}/{name}", only), config, dim, default, only=only)
        folder = expanded(text)
        if not folder.is_dir():
            raise CheckpointError(f"{text}: no such folder of voices")
        return cls(folder, config, dim, default)

    @property
    def names(self) -> tuple[str, ...]:
        """All voices, sorted."""
        return tuple(self._paths)

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __len__(self) -> int:
        return len(self._paths)

    def path(self, name: str | None = None) -> Path:
        """The file of a voice; None is the default. Raises UnknownVoiceError."""
        name = name or self.default
        if name not in self._paths:
            raise UnknownVoiceError(f"the voice {self._unknown(name)}")
        return self._paths[name]

    def get(self, name: str | None = None) -> NDArray[np.float32]:
        """What a model with embeddings hears of a voice: float32 [frames, dim], not to be written to.

        Raises UnknownVoiceError for a name that is none, and for a file that was damaged since the folder was opened.
        """
        assert self._dim, "a model without embeddings hears the recording itself"
        name = name or self.default
        if name not in self._cache:
            self._cache[name] = read_voice(self.path(name), self._config.voice_frames, self._dim)
            if len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        self._cache.move_to_end(name)
        return self._cache[name]

    def _find(self, folder: Path, only: str) -> Iterator[tuple[str, Path]]:
        for path in _files(folder):
            name = path.relative_to(folder).as_posix()
            suffix = self._config.voice_suffix if self._dim else ""
            fits = name.endswith(suffix) if self._dim else path.suffix.lower() in RECORDINGS
            if not fits or not fnmatch(name, only):
                continue
            try:
                _refuse_outside(path, folder)
                if self._dim:
                    check_voice(path, self._config.voice_frames, self._dim)
            except UnknownVoiceError as error:
                log.warning("A voice is left out: %s", error)
            else:
                yield name.removesuffix(suffix), path

    def _unknown(self, name: str) -> str:
        similar = get_close_matches(name[:200], self._paths, 3) or self.names[:3]
        listed = f"{name[:80]!r} does not exist; there are {len(self)}, for example {', '.join(similar)}"
        recording = self._dim and PurePath(name[-80:]).suffix.lower() in RECORDINGS
        return f"{listed}; {no_recording(self._config.name)}" if recording else listed


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder; links to folders are not followed."""
    for parent, _, files in os.walk(folder):
        yield from (Path(parent, file) for file in files)


def _refuse_outside(path: Path, folder: Path) -> None:
    """A link may lead to a file of the same folder, or, as in the hub's cache, of the same repository."""
    home = folder.resolve()
    if home.parent.name == "snapshots" and (home.parents[1] / "blobs").is_dir():
        home = home.parents[1]
    if not path.resolve().is_relative_to(home):
        raise UnknownVoiceError(f"{path}: leads out of the folder of voices")
