"""The NVIDIA GPUs of this machine, asked of their driver (NVML), without torch; or ones that are only imagined."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vivavoce.core import UnsupportedError

AMPERE = (8, 0)  # compute capability: the first with bfloat16
PREPARE = "vivavoce convert --sm75 kyutai/stt-1b-en_fr-candle stt-1b-fp16"  # what those before it need
_SIMULATED = re.compile(r"(?:sm)?(\d{1,2})(?:\.(\d))?(?::(.+))?", re.IGNORECASE)


@dataclass(frozen=True)
class Gpu:
    """One GPU. Bytes are None where it is not a real one."""

    index: int
    name: str
    capability: tuple[int, int]  # compute capability
    total: int | None = None  # bytes of memory
    free: int | None = None
    source: str = "nvml"  # or "simulated"

    @property
    def sm(self) -> str:
        """Its architecture as compilers name it: sm86."""
        return "sm{}{}".format(*self.capability)

    @property
    def pre_ampere(self) -> bool:
        """Whether it has no bfloat16."""
        return self.capability < AMPERE

    def as_json(self) -> dict[str, Any]:
        """The keys of the fork's gpu-check, and the memory."""
        return {
            "index": self.index,
            "name": self.name,
            "sm": self.sm,
            "compute_capability": "{}.{}".format(*self.capability),
            "pre_ampere": self.pre_ampere,
            "source": self.source,
            "memory_total_bytes": self.total,
            "memory_free_bytes": self.free,
        }


@dataclass(frozen=True)
class Found:
    """The GPUs, and the driver that told of them; without a driver, why there is none."""

    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None  # its version
    reason: str | None = None  # why no GPU could be asked


def detect() -> Found:
    """What NVML tells."""
    import pynvml

    try:
        with _nvml() as nvml:
            count = nvml.nvmlDeviceGetCount()
            return Found(tuple(_ask(nvml, index) for index in range(count)), nvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError as error:
        return Found(reason=str(error))


@contextmanager
def _nvml() -> Iterator[Any]:
    import pynvml

    pynvml.nvmlInit()
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _ask(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    capability = tuple(nvml.nvmlDeviceGetCudaComputeCapability(handle))
    return Gpu(index, nvml.nvmlDeviceGetName(handle), capability, int(memory.total), int(memory.free))


def simulated(texts: list[str]) -> Found:
    """GPUs that stand in the place of the machine's: sm75, 7.5, 75 or 75:NAME. Raises UnsupportedError."""
    return Found(tuple(_imagined(index, text) for index, text in enumerate(texts)), "simulated")


def _imagined(index: int, text: str) -> Gpu:
    match = _SIMULATED.fullmatch(text.strip())
    if match is None or not (match[2] or len(match[1]) == 2):
        raise UnsupportedError(f"--simulate {text!r}: expected a compute capability: sm75, 7.5, 75 or 75:NAME")
    major, minor = (match[1], match[2]) if match[2] else (match[1][:-1], match[1][-1])
    capability = int(major), int(minor)
    return Gpu(index, match[3] or "simulated sm{}{}".format(*capability), capability, source="simulated")
