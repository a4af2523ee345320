"""The bridge between a module's parameters and a file's tensors, one description for both directions.

A layout (pytorch.py, trfs.py) lists `Piece`s: a tensor's name in the file and the view of our parameter that holds the
same numbers. Copying file to view loads, copying view to file saves, and the views of a module on the meta device say
which names and shapes a file must have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..core import CheckpointError
from .tensors import Tensors

USAGE_FLOOR = 1e-5  # spec/model.md §1.6: codebook = embedding_sum / max(cluster_usage, floor)

M = TypeVar("M", bound=nn.Module)
Parameters = Mapping[str, Tensor]
Layout = Callable[[Parameters], Iterable["Piece"]]


@dataclass(frozen=True)
class Piece:
    """One tensor of a file."""

    name: str
    ours: Tensor  # a view of our parameter; its numbers in order are the leading numbers of the file's tensor
    shape: tuple[int, ...]  # in the file
    divisor: str | None = None  # the tensor that counts the vectors summed in each row
    fixed: bool = False  # not a weight: `ours` is what we write, and reading only checks the shape

    @classmethod
    def of(cls, name: str, ours: Tensor) -> Piece:
        return cls(name, ours, tuple(ours.shape))

    def renamed(self, rename: Callable[[str], str]) -> Piece:
        return replace(self, name=rename(self.name), divisor=self.divisor and rename(self.divisor))

    def load(self, tensors: Tensors) -> None:
        """Copy from the file, converting dtype and device on the way."""
        if self.fixed:
            return
        value = tensors[self.name]
        if self.divisor is not None:
            value = value.float() / tensors[self.divisor].float().clamp(min=USAGE_FLOOR)[:, None]
        self.ours.copy_(value.flatten()[: self.ours.numel()].view(self.ours.shape))


def check(pieces: Iterable[Piece], tensors: Tensors) -> None:
    """Raise CheckpointError unless the file has exactly these names and shapes."""
    expected = {piece.name: piece.shape for piece in pieces}
    found = tensors.shapes
    _refuse(tensors, "is missing", [f"{name} {list(expected[name])}" for name in expected if name not in found])
    _refuse(tensors, "is not part of this model", [f"{name} {list(found[name])}" for name in found.keys() - expected])
    wrong = [name for name, shape in expected.items() if found[name] != shape]
    _refuse(tensors, "", [f"{n} has shape {list(found[n])}, expected {list(expected[n])}" for n in wrong])


def _refuse(tensors: Tensors, what: str, faults: list[str]) -> None:
    if faults:
        others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise CheckpointError(f"{tensors.where}: tensor {min(faults)} {what}".rstrip() + others)


def fill(module: M, layout: Layout, tensors: Tensors, device: torch.device, dtype: torch.dtype) -> M:
    """Give a module made on the meta device its weights from a file, strictly, one tensor at a time."""
    check(layout(dict(module.named_parameters())), tensors)
    for name, parameter in list(module.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        empty = torch.zeros(parameter.shape, dtype=dtype, device=device)
        setattr(module.get_submodule(owner), leaf, nn.Parameter(empty, requires_grad=False))
    for piece in layout(dict(module.named_parameters())):
        piece.load(tensors)
    return module.to(device).eval()


def dump(module: nn.Module, layout: Layout, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors to write for a module, on the CPU, contiguous and sharing no memory."""
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
    return {piece.name: _whole(piece).to("cpu", dtype) for piece in layout(parameters)}


def _whole(piece: Piece) -> Tensor:
    """What the file has beyond our numbers is zero."""
    whole = torch.zeros(piece.shape, dtype=piece.ours.dtype, device=piece.ours.device)
    whole.view(-1)[: piece.ours.numel()] = piece.ours.reshape(-1)
    return whole
