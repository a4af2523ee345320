"""Clips in memory, read from a corpus folder that may still be growing."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import soundfile

from vivavoce.core import VivavoceError

from .corpus import MANIFEST, Clip, Entry, read_manifest


class Library:
    """All clips of a corpus folder but those of the sources and speakers named in `without`."""

    def __init__(self, root: Path, *, held: bool = False, without: Collection[str] = ()) -> None:
        self.root, self.held, self.without = root, held, frozenset(without)
        self.clips: list[Clip] = []
        self._seen: set[Path] = set()
        self.refresh()
        if not any(clip.words for clip in self.clips):
            raise VivavoceError(f"{root} holds no clips that say digits; `vivavoce train corpus` makes them")

    def refresh(self) -> None:
        """Read what has been added since the last look."""
        for folder in sorted(path.parent for path in self.root.glob(f"*/{MANIFEST}")):
            for entry in read_manifest(folder):
                if entry.path not in self._seen:
                    self._seen.add(entry.path)
                    if self._wanted(entry):
                        self.clips.append(_read(entry))

    def _wanted(self, entry: Entry) -> bool:
        person = entry.speaker.partition("*")[0]  # george*1.07 is george with his formants moved
        return entry.held == self.held and not {entry.source, entry.speaker, person} & self.without


def _read(entry: Entry) -> Clip:
    audio, _ = soundfile.read(entry.path, dtype="float32")
    return Clip(audio, entry.words, entry.source, entry.speaker, entry.licence, entry.held)
