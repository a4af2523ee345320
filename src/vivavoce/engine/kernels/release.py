"""Letting go of the tensors of a model that native code has packed copies of."""

from __future__ import annotations

import ctypes
import sys
from typing import Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class HasPacked(Protocol):
    """What has packed a model, or a part of it."""

    def let_go(self) -> None:
        """Release the tensors that were packed: from now on nobody else can use that part of the model."""
        ...


def let_go(*parts: object) -> None:
    """Those that have packed what they step; PyTorch's own paths need the model's tensors."""
    for part in parts:
        if isinstance(part, HasPacked):
            part.let_go()
    if sys.platform == "linux":  # glibc keeps what was freed in pieces, half a gigabyte of a 1B
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def release(*modules: nn.Module) -> None:
    """Their shapes stay, their memory goes with its last user."""
    for module in modules:
        module.to("meta")
