"""Compiles the kernels into one shared library. Runs by itself, at install time (hatch_build.py) or at first use."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni"]
ISAS: dict[str, list[str]] = {  # the instruction sets of a processor's kind, each with the compiler's flags
    "plain": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx_vnni": ["-mavx2", "-mfma", "-mavxvnni"],
    "avx512": AVX512,
    "avx512_bf16": [*AVX512, "-mavx512bf16"],
    "amx": [*AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-int8", "-mamx-bf16"],
}
PARTS = ("abi", "codec_abi", "crew")  # compiled once; isa.cpp once for every instruction set
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-Wno-psabi", "-pthread"]


class NoCompilerError(Exception):
    """There is no C++ compiler, or it cannot compile this."""


def library_name(flags: Sequence[str] = ()) -> str:
    """Of the library that these sources make: other sources or flags, another name."""
    digest = hashlib.sha256(" ".join([*FLAGS, *flags, str(ISAS)]).encode())
    for source in sorted([*HERE.glob("*.cpp"), *HERE.glob("*.h")]):
        digest.update(source.read_bytes())
    return f"kernels-{platform.machine()}-{digest.hexdigest()[:12]}.so"


def build(folder: Path, flags: Sequence[str] = ()) -> Path:
    """Compile into `folder`, in seconds. Raises NoCompilerError with one line that says why not."""
    compiler = _compiler()
    target = folder / library_name(flags)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        isas = [isa for isa, own in ISAS.items() if _knows(compiler, own)]
        known = [f"-DWITH_{isa}" for isa in isas]
        work = [(part, scratch / f"{part}.o", [*flags, *known]) for part in PARTS]
        work += [("isa", scratch / f"{isa}.o", [*flags, *ISAS[isa], f"-DISA={isa}"]) for isa in isas]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(lambda each: _compile(compiler, *each), work))
        linked = scratch / target.name
        _run([*compiler, "-shared", "-pthread", *flags, *map(str, objects), "-o", str(linked)])
        folder.mkdir(parents=True, exist_ok=True)
        # Renamed into place: another process may be building, or running, the same library.
        beside = folder / f".{target.name}.{os.getpid()}"
        shutil.copyfile(linked, beside)
        beside.replace(target)
    return target


def _knows(compiler: list[str], own: Sequence[str]) -> bool:
    """Whether these are flags of an instruction set, of this kind of processor, that the compiler has heard of."""
    if own and platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    asked = [*compiler, *own, "-fsyntax-only", "-x", "c++", os.devnull]
    return not own or not subprocess.run(asked, capture_output=True, check=False).returncode


def _compile(compiler: list[str], source: str, target: Path, flags: Sequence[str]) -> Path:
    _run([*compiler, *FLAGS, *flags, "-c", str(HERE / f"{source}.cpp"), "-o", str(target)])
    return target


def _compiler() -> list[str]:
    wanted = os.environ.get("CXX", "").split()
    for command in [wanted] if wanted else [["c++"], ["g++"], ["clang++"]]:
        if shutil.which(command[0]):
            return command
    raise NoCompilerError(f"no C++ compiler ({' '.join(wanted) or 'c++, g++ or clang++'})")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise NoCompilerError(f"{command[0]} failed: {lines[0] if lines else done.returncode}")
