"""What a GPU can do, asked without importing Triton."""

from __future__ import annotations

from importlib.util import find_spec

import torch

from vivavoce.nn.lm import Lm

OLDEST = (7, 0)  # compute capability: the first that Triton compiles for
FP8 = (8, 9)  # that converts fp8
PACKS = (8, 0)  # for whose matrix units Triton compiles: below, a product of packed weights would be slower, not faster


def reason_against(lm: Lm) -> str | None:
    """Why this LM is not stepped by the graphs on its device; None if it is."""
    if not hears_only(lm):
        return "the model speaks"
    return lacks_kernels(torch.cuda.get_device_capability(lm.embeddings.device))


def lacks_kernels(capability: tuple[int, int]) -> str | None:
    """Why no GPU of this compute capability has the kernels of the graphs here; None if it has."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    if capability < OLDEST:
        return f"compute capability {capability[0]}.{capability[1]} is older than {OLDEST[0]}.{OLDEST[1]}"
    return None


def reason_against_packing(lm: Lm, packed: str) -> str | None:
    """Why the graphs do not step this LM with weights that are packed so; None if they do."""
    capability = torch.cuda.get_device_capability(lm.embeddings.device)
    if packed != "int8":
        return "their kernels are for int8"
    if capability < PACKS:
        return f"compute capability {capability[0]}.{capability[1]} is older than {PACKS[0]}.{PACKS[1]}"
    return reason_against(lm)


def hears_only(lm: Lm) -> bool:
    """Whether this is a model that the kernels know."""
    return not lm.config.cross_attention and not lm.config.demux


def eight_bit(device: torch.device) -> torch.dtype:
    """What keys and values are kept in where 16 bits take too much room."""
    return torch.float8_e4m3fn if torch.cuda.get_device_capability(device) >= FP8 else torch.int8
