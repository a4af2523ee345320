"""The kernels of another processor under its emulator: stands in for `Library`, and makes each call in a process there.

All memory that a call can reach is copied to that process, pointers and all, and back: the structs are the same on any
64-bit processor, and which memory there is Python's collector knows.
"""

from __future__ import annotations

import bisect
import ctypes
import gc
import shutil
import subprocess
from array import array
from functools import partial
from pathlib import Path

import torch

from vivavoce.engine.kernels import build
from vivavoce.engine.kernels.structures import Packing

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
CALLS = ("step", "speak", "encode", "decode", "pack")
POINTER = 8


def missing() -> str | None:
    """What is not installed of what this needs, and the packages of Debian that bring it."""
    without = [command for command in (COMPILER, EMULATOR) if not shutil.which(command)]
    return f"no {' and no '.join(without)} here (g++-aarch64-linux-gnu, qemu-user)" if without else None


class Elsewhere:
    """The kernels for AArch64, of which NEON is a part."""

    def __init__(self, folder: Path) -> None:
        self._program, self._memory = folder / "kernels", folder / "memory"
        sources = [*(build.HERE / f"{part}.cpp" for part in (*build.PARTS, "isa")), Path(__file__).with_suffix(".cpp")]
        command = [COMPILER, *build.FLAGS, "-DISA=plain", "-static", *map(str, sources), "-o", str(self._program)]
        subprocess.run(command, check=True)
        self.isas = {"plain": 0}
        self.step, self.speak, self.encode, self.decode = (partial(self._call, name) for name in CALLS[:4])

    def crew(self, threads: int) -> int:
        return threads

    def dismiss(self, crew: int) -> None:
        pass

    def pack(self, what: Packing, threads: int) -> None:
        self._call("pack", 0, threads, ctypes.addressof(what))

    def _call(self, name: str, _isa: int, _crew: int, *addresses: int) -> int:
        reached = _Reached(addresses)
        numbers = array("q", [CALLS.index(name)])
        for part in reached.arguments, reached.sizes, reached.pointers:
            numbers.extend([len(part), *part])
        contents = (ctypes.string_at(begin, end - begin) for begin, end in reached.regions)
        self._memory.write_bytes(numbers.tobytes() + b"".join(contents))
        done = subprocess.run([EMULATOR, str(self._program), str(self._memory)], check=False)
        assert done.returncode in range(5), f"the emulator ended with {done.returncode}"
        left = memoryview(self._memory.read_bytes())[len(numbers) * POINTER :]
        for begin, end in reached.regions:
            ctypes.memmove(begin, bytes(left[: end - begin]), end - begin)
            left = left[end - begin :]
        return done.returncode


class _Reached:
    """Regions of memory that these addresses lead to, and the pointers in them."""

    def __init__(self, addresses: tuple[int, ...]) -> None:
        self._known = _memory()
        self._begins = [begin for begin, _, _ in self._known]
        self._places = dict[int, int]()  # of a region's begin, in the order of being met
        self.regions = list[tuple[int, int]]()
        self.pointers = list[int]()
        self.arguments = [part for address in addresses for part in self._find(address) or ()]
        assert len(self.arguments) == 2 * len(addresses)

    @property
    def sizes(self) -> list[int]:
        return [end - begin for begin, end in self.regions]

    def _find(self, address: int) -> tuple[int, int] | None:
        """The region of an address, and its place there."""
        index = bisect.bisect_right(self._begins, address) - 1
        if index < 0 or address >= self._known[index][1]:
            return None
        begin, end, may_point = self._known[index]
        if begin not in self._places:
            self._places[begin] = region = len(self.regions)
            self.regions.append((begin, end))
            if may_point:
                self._follow(region, begin, end)
        return self._places[begin], address - begin

    def _follow(self, region: int, begin: int, end: int) -> None:
        words = array("q", ctypes.string_at(begin, (end - begin) // POINTER * POINTER))
        for index, word in enumerate(words):
            if (found := self._find(word)) is not None:
                self.pointers += [region, index * POINTER, *found, word]


def _memory() -> list[tuple[int, int, bool]]:
    """Begin and end of what tensors and structs have, and whether pointers may be in it; none within another."""
    found = list[tuple[int, int, bool]]()
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor):  # `isinstance` asks objects, some of which answer with a warning
            if thing.device.type == "cpu" and thing.layout == torch.strided and thing.numel():
                storage = thing.untyped_storage()
                found.append((storage.data_ptr(), storage.data_ptr() + storage.nbytes(), thing.dtype == torch.long))
        elif issubclass(type(thing), ctypes.Structure | ctypes.Array):
            begin = ctypes.addressof(thing)
            found.append((begin, begin + ctypes.sizeof(thing), True))
    outer = list[tuple[int, int, bool]]()
    for begin, end, may_point in sorted(found, key=lambda region: (region[0], -region[1])):
        if not outer or begin >= outer[-1][1]:
            outer.append((begin, end, may_point))
    return outer
