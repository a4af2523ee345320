"""This machine without its GPUs: processor, memory, disks, limits."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

GROUP = Path("/sys/fs/cgroup")  # of the container, where there is one
# As Linux and macOS call them. The kernels have AMX, AVX-512 (VNNI, bf16), AVX2 (VNNI), what compilers make of NEON.
SETS = {
    "AVX2": ("avx2",),
    "AVX-VNNI": ("avx_vnni",),
    "AVX-512": ("avx512f",),
    "AVX-512 VNNI": ("avx512_vnni", "avx512vnni"),
    "AVX-512 bf16": ("avx512_bf16", "avx512bf16"),
    "AMX": ("amx_tile",),
    "NEON": ("asimd", "hw.optional.neon", "hw.optional.AdvSIMD"),
    "NEON bf16": ("bf16", "hw.optional.arm.FEAT_BF16"),
    "SME": ("sme", "hw.optional.arm.FEAT_SME"),
}


@dataclass(frozen=True)
class Processor:
    """What computes where there is no GPU."""

    name: str
    cores: int  # that this process may use
    sets: tuple[str, ...]  # of SETS


def processor() -> Processor:
    text = _described()
    words = set(text.lower().replace(":", " ").split())
    sets = tuple(name for name, flags in SETS.items() if any(flag.lower() in words for flag in flags))
    names = [value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())
             if key.strip() in ("model name", "machdep.cpu.brand_string") and value.strip()]  # fmt: skip
    return Processor(names[0] if names else platform.processor() or platform.machine(), cores(), sets)


def _described() -> str:
    if platform.system() == "Darwin":  # flags that are 0 are of what it lacks
        told = subprocess.run(["sysctl", "machdep.cpu", "hw.optional"], capture_output=True, text=True, check=False)
        lines = [line for line in told.stdout.splitlines() if not line.startswith("hw.") or line.endswith(": 1")]
        return "\n".join(lines)
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def cores() -> int:
    """Those that this process may run on; a container's quota counts."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _group("cpu.max").partition(" ")
    return min(allowed, max(1, int(quota) // int(period))) if quota.isdigit() else allowed


@dataclass(frozen=True)
class Memory:
    """Bytes; a container's limit counts."""

    total: int
    available: int


def memory() -> Memory:
    machine = psutil.virtual_memory()
    limit, used = _group("memory.max"), _group("memory.current")
    if not (limit.isdigit() and used.isdigit()):
        return Memory(machine.total, machine.available)
    return Memory(min(machine.total, int(limit)), min(machine.available, max(0, int(limit) - int(used))))


def _group(file: str) -> str:
    path = GROUP / file
    return path.read_text().strip() if path.is_file() else ""


def disk_free(folder: Path) -> int:
    """Bytes where `folder` is, or would be made."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return psutil.disk_usage(str(there)).free


def open_files() -> int | None:
    """How many files and sockets a process may have open; None where the system has no such limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft
