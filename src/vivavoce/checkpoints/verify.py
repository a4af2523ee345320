"""Whether a model on this disk is whole: files as the hub gave them, tensors as the model needs them, numbers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from ..core import CheckpointError
from . import trfs
from .assembly import AS_IT_IS, Instead
from .config import Fields
from .folder import LocalFolder, open_pinned
from .load import load_stt
from .load_tts import load_tts
from .model import SttModel
from .tensors import Tensors
from .tts_model import TtsModel

POINTER = b"version https://git-lfs.github.com/spec/"  # what stands in a file that git did not fetch
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Verdict:
    """What was found; without faults the model is whole."""

    name: str
    path: str
    bytes: int
    files: int
    hashed: int  # files whose digest is known, and right unless a fault says otherwise
    faults: tuple[str, ...]


def sizes_of(
    source: str | Path | None, *, speaks: bool | None = None, instead: Instead = AS_IT_IS
) -> SttModel | TtsModel:
    """A model on the meta device: every name and shape is checked, no number is read; the hub's files are fetched.

    `speaks`: of which kind it must be; None: whichever it is. Raises CheckpointError, DownloadError.
    """
    if speaks is None:
        config = Fields.read(open_pinned(source).get("config.json"))
        speaks = config.values.get("model_type") == "tts"
    return (load_tts if speaks else load_stt)(source, device="meta", instead=instead)


def verify(path: Path, name: str) -> Verdict:
    """Read the whole of a model's folder; in the hub's cache, the bytes are compared with those that the hub has."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    faults = [f"{file.relative_to(path)}: only a pointer to the file (git-lfs pull)" for file in files if _points(file)]
    known = {file: right for file in files if (right := _as_named(file)) is not None}
    faults += [
        f"{file.relative_to(path)}: not the bytes that the hub gave" for file, right in known.items() if not right
    ]
    if not faults:
        faults += _tensors(path)
    size = sum(file.stat().st_size for file in files)
    return Verdict(name, str(path), size, len(files), len(known), tuple(faults))


def _points(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(POINTER)) == POINTER


def _as_named(file: Path) -> bool | None:
    """Whether a cached file has the digest for which it is named, git's or SHA-256; None where it has no such name."""
    blob = file.resolve()
    if not file.is_symlink() or not _DIGEST.fullmatch(blob.name):
        return None
    digest = hashlib.sha256()
    if len(blob.name) == 40:
        digest = hashlib.sha1(b"blob %d\0" % blob.stat().st_size)
    with blob.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == blob.name


def _tensors(path: Path) -> Iterator[str]:
    try:
        model, folder = sizes_of(path), LocalFolder(path)
        whole = Path(model.files["lm"]) == Path(model.files["mimi"])  # the -trfs layout, perhaps in shards
        for file in trfs.weight_files(folder) if whole else [Path(model.files["lm"]), Path(model.files["mimi"])]:
            tensors = Tensors.open([file])
            yield from (f"{file.name}: tensor {name} {what}" for name in tensors if (what := _odd(tensors[name])))
    except CheckpointError as error:
        yield str(error)


def _odd(tensor: torch.Tensor) -> str | None:
    return None if bool(torch.isfinite(tensor).all()) else "has numbers that are NaN or infinite"
