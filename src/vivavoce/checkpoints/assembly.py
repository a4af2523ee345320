"""What loading any model needs: the device, the dtype, single files, and networks filled from their tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..core import CheckpointError, UnsupportedError
from ..nn.lm import Lm, LmConfig
from ..nn.mimi import Mimi, MimiConfig
from ..settings import locate
from .folder import open_folder
from .pieces import Layout, fill
from .tensors import Tensors

LARGE = 100_000_000  # numbers in an LM, above which a CPU too keeps 16-bit weights
_DTYPE_NAMES = {
    **dict.fromkeys(("float32", "fp32", "f32"), torch.float32),
    **dict.fromkeys(("float16", "fp16", "f16", "half"), torch.float16),
    **dict.fromkeys(("bfloat16", "bf16"), torch.bfloat16),
}
PACKED = {  # what an engine's kernels make of an LM's weights, and whose; no layout of files
    "int8": ("cpu", "cuda"),
    "int4": ("cpu",),
}


@dataclass(frozen=True)
class Instead:
    """What is taken instead of the model's own: files, each a path or `hf://owner/name/file`, and fewer codebooks.

    Only for the PyTorch and candle layouts: a -trfs folder is one file.
    """

    lm: str | None = None
    mimi: str | None = None
    tokenizer: str | None = None
    codebooks: int | None = None  # how many of those that the LM was trained with it hears, or speaks


AS_IT_IS = Instead()


def file_of(source: str | None) -> Path | None:
    """The local path of one file, a path or `hf://owner/name/file`."""
    if source is None:
        return None
    where = locate(source)
    if where.file is None:
        raise CheckpointError(f"{source}: expected a file, found a folder or repository")
    return open_folder(source).get(where.file)


def build(
    lm: LmConfig,
    mimi: MimiConfig,
    layouts: tuple[Layout, Layout],
    lm_tensors: Tensors,
    mimi_tensors: Tensors,
    device: torch.device,
    dtype: torch.dtype | None,
) -> tuple[Mimi, Lm]:
    _check_codec_fits(lm, mimi, mimi_tensors.where)
    for tensors, dim, heads in (lm_tensors, lm.dim, lm.num_heads), (mimi_tensors, mimi.dimension, mimi.heads):
        if heads < 1 or dim % (2 * heads):  # rotary embeddings need an even width each
            raise CheckpointError(f"{tensors.where}: a width of {dim} cannot have num_heads {heads}")
    with torch.device("meta"):
        empty_lm, empty_mimi = Lm(lm), Mimi(mimi)
    chosen = dtype or default_dtype(lm_tensors, device)
    return (
        fill(empty_mimi, layouts[1], mimi_tensors, device, torch.float32),
        fill(empty_lm, layouts[0], lm_tensors, device, chosen),
    )


def _check_codec_fits(lm: LmConfig, mimi: MimiConfig, where: str) -> None:
    if lm.n_q > mimi.codebooks:
        raise CheckpointError(f"{where}: the codec has {mimi.codebooks} codebooks, the LM needs {lm.n_q}")
    if lm.card != mimi.bins:
        raise CheckpointError(f"{where}: the codec has {mimi.bins} codes a codebook, the LM hears {lm.card}")


def default_dtype(tensors: Tensors, device: torch.device) -> torch.dtype:
    if device.type == "cuda" and tensors.dtype == torch.bfloat16 and not has_bfloat16(device):
        return torch.float16
    if device.type != "cpu":
        return tensors.dtype
    if tensors.elements < LARGE or tensors.dtype in (torch.float32, torch.float64):
        return torch.float32
    return torch.bfloat16  # also for fp16 files: CPUs have no fast fp16


def has_bfloat16(device: torch.device) -> bool:
    """Whether a CUDA GPU computes in bfloat16, as from Ampere on; `is_bf16_supported` counts those that pretend to."""
    return torch.cuda.get_device_capability(device) >= (8, 0)


def torch_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "mps" and not torch.backends.mps.is_available():  # PyTorch says so at great length
            raise UnsupportedError(f"device {name!r} cannot be used: no Apple GPU that PyTorch can use is here")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UnsupportedError(f"device {name!r} cannot be used: {reason}") from error
    return device


def torch_dtype(value: str | torch.dtype | None, device: torch.device) -> tuple[torch.dtype | None, str | None]:
    """How the LM's tensors are loaded (None: as suits file and device), and how its engine is to pack them."""
    if value is None:
        return None, None
    if value in PACKED:
        if device.type not in PACKED[value]:
            whose = " and ".join(PACKED[value])
            raise UnsupportedError(f"dtype {value} is a format of kernels for {whose}, and the device is {device}")
        return None, str(value)
    dtype = _DTYPE_NAMES.get(value.lower()) if isinstance(value, str) else value
    if dtype not in _DTYPE_NAMES.values():
        raise UnsupportedError(f"dtype {value!r} is not one of float32, float16, bfloat16, {', '.join(PACKED)}")
    return dtype, None
