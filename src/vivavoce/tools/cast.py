"""Weights from one precision to another: what would be lost, and a file written tensor by tensor."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from vivavoce.core import CheckpointError, UnsupportedError

NAMES = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}


@dataclass
class Range:
    """What the numbers of many tensors are, and become."""

    dtype: torch.dtype
    converted: int = 0  # tensors
    untouched: int = 0
    largest: float = 0.0
    largest_in: str = ""
    overflowed: int = 0  # finite numbers that would become infinite
    vanished: int = 0  # numbers that would become zero
    rounded: int = 0  # that change at all
    numbers: int = 0
    worst: str = ""  # the tensor with the largest number that overflows
    odd: list[str] = field(default_factory=list)  # tensors with NaN or infinity

    def add(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor in the new precision, counted."""
        wide, new = tensor.float(), tensor.to(self.dtype)
        finite = wide.isfinite()
        if not finite.all():
            self.odd.append(name)
        most = float(wide[finite].abs().max()) if finite.any() else 0.0
        over = int((finite & ~new.isfinite()).sum())
        if most > self.largest:
            self.largest, self.largest_in = most, name
        if over and not self.worst:
            self.worst = name
        self.overflowed += over
        self.vanished += int(((new == 0) & (wide != 0)).sum())
        self.rounded += int((new.float() != wide).sum())
        self.numbers += wide.numel()
        self.converted += 1
        return new

    def refuse_overflow(self) -> None:
        """Raises UnsupportedError where a finite number would become infinite."""
        if self.overflowed:
            kind, limit = str(self.dtype).removeprefix("torch."), torch.finfo(self.dtype).max
            raise UnsupportedError(
                f"{self.overflowed} numbers are beyond {kind}'s {limit:g}, the first in {self.worst}; "
                f"the largest is {self.largest:g}. Nothing was written"
            )

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "dtype": str(self.dtype).removeprefix("torch.")}


def cast_file(source: Path, target: Path | None, dtype: torch.dtype) -> Range:
    """Every BF16 tensor in `dtype`, all others and the metadata as they are; None writes nothing.

    Whole or not at all; one tensor is in memory at a time. Raises CheckpointError, UnsupportedError for overflow.
    """
    report = Range(dtype)
    try:
        with safe_open(source, framework="pt") as file:
            names = list(file.keys())
            for name in names:  # first all, so that nothing is written in vain
                if file.get_slice(name).get_dtype() == "BF16":
                    report.add(name, file.get_tensor(name))
                else:
                    report.untouched += 1
            report.refuse_overflow()
            if target is not None:
                _write(file, names, target, dtype)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{source}: cannot be converted ({error})") from error
    return report


def _write(file: Any, names: Iterable[str], target: Path, dtype: torch.dtype) -> None:
    """The safetensors format: the length of the header, the header, the numbers."""
    header, place = dict[str, Any](), 0
    if file.metadata():
        header["__metadata__"] = file.metadata()
    for name in names:
        part = file.get_slice(name)
        kind, shape = part.get_dtype(), list(part.get_shape())
        size = prod(shape) * dtype.itemsize if kind == "BF16" else file.get_tensor(name).nbytes
        header[name] = {"dtype": NAMES[dtype] if kind == "BF16" else kind, "shape": shape}
        header[name]["data_offsets"] = [place, place := place + size]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    target.parent.mkdir(parents=True, exist_ok=True)
    part_file = target.with_name(f".{target.name}.part")
    with part_file.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            tensor = file.get_tensor(name)
            tensor = tensor.to(dtype) if tensor.dtype == torch.bfloat16 else tensor
            out.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        out.flush()
        os.fsync(out.fileno())
    part_file.replace(target)


def examine(tensors: Mapping[str, torch.Tensor], dtype: torch.dtype) -> Range:
    """What becomes of weights that are loaded; the precision of a layout's fixed tensors does not count."""
    report = Range(dtype)
    for name, tensor in tensors.items():
        report.add(name, tensor)
    return report
