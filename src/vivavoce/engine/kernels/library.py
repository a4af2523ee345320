"""The compiled library: found beside the sources or in the user's cache, else compiled; None where that cannot be."""

from __future__ import annotations

import ctypes
import logging
import os
from ctypes import POINTER, c_char_p, c_int, c_int32, c_int64, c_void_p, sizeof
from functools import cache
from pathlib import Path

from . import build
from .codec_structures import codec_layout
from .speech_structures import speech_layout
from .structures import Packing, layout

logger = logging.getLogger(__name__)


class Library:
    """The functions of abi.cpp and codec_abi.cpp."""

    def __init__(self, path: Path) -> None:
        self._functions = functions = ctypes.CDLL(str(path))
        functions.vivavoce_isa.argtypes, functions.vivavoce_isa.restype = [c_int, POINTER(c_int32)], c_char_p
        functions.vivavoce_layout.restype = functions.vivavoce_packing_layout.restype = c_int64
        functions.vivavoce_crew.argtypes, functions.vivavoce_crew.restype = [c_int], c_void_p
        functions.vivavoce_dismiss.argtypes = [c_void_p]
        functions.vivavoce_step.argtypes = [c_int, *[c_void_p] * 5]
        assert functions.vivavoce_layout() == layout(), "structures.py and model.h differ"
        assert functions.vivavoce_packing_layout() == sizeof(Packing), "structures.py and packing.h differ"
        functions.vivavoce_pack.argtypes, functions.vivavoce_pack.restype = [c_int, c_void_p, c_void_p], None
        functions.vivavoce_speech_layout.restype = c_int64
        functions.vivavoce_speak.argtypes = [c_int, *[c_void_p] * 5]
        assert functions.vivavoce_speech_layout() == speech_layout(), "speech_structures.py and depformer.h differ"
        self.speak = functions.vivavoce_speak
        functions.vivavoce_codec_layout.restype = c_int64
        functions.vivavoce_encode.argtypes = functions.vivavoce_decode.argtypes = [c_int, *[c_void_p] * 5]
        assert functions.vivavoce_codec_layout() == codec_layout(), "codec_structures.py and codec.h differ"
        self.encode, self.decode = functions.vivavoce_encode, functions.vivavoce_decode
        self.crew, self.dismiss, self.step = (
            functions.vivavoce_crew,
            functions.vivavoce_dismiss,
            functions.vivavoce_step,
        )
        self.isas = dict(self._isas())

    def pack(self, what: Packing, threads: int) -> None:
        """Fills data and scales, on the best instruction set."""
        crew = self.crew(threads)
        self._functions.vivavoce_pack(next(iter(self.isas.values())), crew, ctypes.addressof(what))
        self.dismiss(crew)

    def _isas(self) -> list[tuple[str, int]]:
        """Those that this machine runs, the best first, with their numbers."""
        found, here, index = [], c_int32(), 0
        while name := self._functions.vivavoce_isa(index, ctypes.byref(here)):
            found += [(name.decode(), index)] if here.value else []
            index += 1
        return found


@cache
def library() -> Library | None:
    """Compiled once if it is not there yet. Where it cannot be, says so once."""
    name = build.library_name()
    for path in (folder / name for folder in _folders()):
        if path.exists():
            return Library(path)
    try:
        folder = next(filter(_writable, _folders()), None)
        if folder is None:
            raise build.NoCompilerError(f"nowhere to write it: {', '.join(map(str, _folders()))}")
        logger.info("Compiling the CPU kernels into %s; this happens once", folder)
        return Library(build.build(folder))
    except (build.NoCompilerError, OSError) as error:
        logger.warning("No native CPU kernels, PyTorch's slower ones instead: %s", error)
        return None


def _folders() -> list[Path]:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [build.HERE, caches / "vivavoce"]


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
