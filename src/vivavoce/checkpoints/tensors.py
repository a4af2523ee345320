"""Reading safetensors files: names and shapes at once, numbers when asked for, through a memory map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..core import CheckpointError

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class Tensors(Mapping[str, Tensor]):
    """The tensors of a checkpoint by name, each a view of the mapped file: read, never written."""

    def __init__(self, where: str, names: Mapping[str, tuple[str, Any]]) -> None:
        self.where = where  # for error messages
        self._names = names  # ours to (theirs, file)
        slices = {name: file.get_slice(theirs) for name, (theirs, file) in names.items()}
        self.shapes: dict[str, tuple[int, ...]] = {name: tuple(s.get_shape()) for name, s in slices.items()}
        self._dtypes: dict[str, str] = {name: s.get_dtype() for name, s in slices.items()}
        for name, dtype in self._dtypes.items():
            if dtype not in DTYPES:
                raise CheckpointError(
                    f"{where}: tensor {name} is {dtype}; only {', '.join(DTYPES)} are read (no quantised files)"
                )

    @classmethod
    def open(cls, paths: Sequence[Path]) -> Tensors:
        """The union of the files (shards)."""
        names: dict[str, tuple[str, Any]] = {}
        for path in paths:
            file = _open(path)
            for name in file.keys():  # noqa: SIM118  (not a mapping)
                if name in names:
                    raise CheckpointError(f"{path}: tensor {name} is also in another file of this model")
                names[name] = name, file
        return cls(str(paths[0]), names)

    def select(self, rename: Callable[[str], str | None]) -> Tensors:
        """The tensors for which `rename` gives a name, under that name."""
        renamed = {name: rename(name) for name in self._names}
        return Tensors(self.where, {new: self._names[old] for old, new in renamed.items() if new is not None})

    @property
    def elements(self) -> int:
        return sum(map(prod, self.shapes.values()))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that holds most of the numbers."""
        counts: Counter[str] = Counter()
        for name, shape in self.shapes.items():
            counts[self._dtypes[name]] += prod(shape)
        return DTYPES[counts.most_common(1)[0][0]]

    def __getitem__(self, name: str) -> Tensor:
        theirs, file = self._names[name]
        tensor: Tensor = file.get_tensor(theirs)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True)
class Sizes:
    """Reads sizes off tensors; names are asked for in the PyTorch layout and `rename`d to the file's."""

    tensors: Tensors
    rename: Callable[[str], str] = str

    def __contains__(self, name: str) -> bool:
        return self.rename(name) in self.tensors

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """The shape of a tensor that must be there, with that many dimensions."""
        name, where = self.rename(name), self.tensors.where
        if name not in self.tensors:
            raise CheckpointError(f"{where}: tensor {name} is missing")
        shape = self.tensors.shapes[name]
        if len(shape) != dimensions:
            raise CheckpointError(f"{where}: tensor {name} has shape {list(shape)}, expected {dimensions} dimensions")
        return shape

    def count(self, template: str) -> int:
        """How many consecutive numbers, from 0, give an existing name in `template` with one {}."""
        return next(i for i in count() if template.format(i) not in self)


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
