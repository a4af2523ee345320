"""A machine looked over before a server is started on it: what there is, what would run where, what is missing."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec

from vivavoce.settings import Loaded, SettingsError

from . import machine
from .finding import Finding, bytes_of
from .gpus import PREPARE, Found, Gpu
from .places import doors, models
from .sound import sounds

SPARE_FILES = 256  # open files of a server that are no connections


@dataclass(frozen=True)
class Examination:
    """Everything that was found."""

    gpus: Found
    findings: list[Finding]

    @property
    def faults(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.state == "fault"]

    @property
    def pre_ampere(self) -> bool:
        """Whether there is a GPU without bfloat16."""
        return any(gpu.pre_ampere for gpu in self.gpus.gpus)


def examine(loaded: Loaded | SettingsError, gpus: Found) -> Examination:
    """Look at this machine with these GPUs, for a server with these settings; slow, since it imports torch.

    Where that is not installed, nothing is said of what computes.
    """
    engine = find_spec("torch") is not None
    findings = [system(engine), *cards(gpus, engine), *processor(engine), memory()]
    if isinstance(loaded, SettingsError):
        findings.append(Finding("settings", "fault", str(loaded)))
    else:
        settings = loaded.settings
        findings += [Finding("settings", "warning", text) for text in loaded.warnings]
        findings += [*(models(settings) if engine else ()), files(sum(module.slots for module in settings.served))]
        findings += doors(settings)
    return Examination(gpus, [*findings, *sounds()])


def system(engine: bool) -> Finding:
    here = (
        f"vivavoce {version('vivavoce')}, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    if not engine:
        text = f"{here}, without PyTorch: a client, which serves nothing"
        return Finding("system", "fault", text, "pip install 'vivavoce[engine]'")
    import torch

    cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    return Finding("system", "ok", f"{here}, PyTorch {torch.__version__} ({cuda})")


def cards(found: Found, engine: bool) -> Iterator[Finding]:
    """GPUs and what steps a model on each."""
    if not found.gpus:
        yield Finding("gpu", "note", f"no NVIDIA GPU: {found.reason or 'the driver knows none'}")
    for gpu in found.gpus:
        room = "" if gpu.total is None else f", {bytes_of(gpu.free or 0)} of {bytes_of(gpu.total)} free"
        driver = "" if found.driver is None or gpu.source == "simulated" else f", driver {found.driver}"
        yield Finding("gpu", "ok", f"{gpu.index}: {gpu.name} ({gpu.sm}, {gpu.source}{room}{driver})")
        yield from path(gpu) if engine else ()
    if engine:
        yield from _torch_on(found)


def _torch_on(found: Found) -> Iterator[Finding]:
    import torch

    if torch.backends.mps.is_available():
        advice = "vivavoce serve --device mps"
        yield Finding("gpu", "note", "Apple's GPU can be used (MPS); auto takes the CPU", advice)
    if found.gpus and found.gpus[0].source == "nvml" and not torch.cuda.is_available():
        how = "has no CUDA in it" if torch.version.cuda is None else "cannot use the driver, which may be too old"
        wanted = f"pip install --force-reinstall 'torch=={torch.__version__.partition('+')[0]}'"
        yield Finding("gpu", "fault", f"PyTorch {torch.__version__} {how}: the CPU would compute", wanted)


def path(gpu: Gpu) -> Iterator[Finding]:
    """What steps a model that hears, on this GPU."""
    from vivavoce.engine.gpu.support import FP8, lacks_kernels

    if (reason := lacks_kernels(gpu.capability)) is None:
        kept = "fp8" if gpu.capability >= FP8 else "int8"
        text = f"{gpu.index}: captured graphs with Triton's kernels; where 16 bits have no room, {kept} keys and values"
        yield Finding("engine", "ok", text)
    else:
        yield Finding("engine", "warning", f"{gpu.index}: PyTorch steps the model, without captured graphs: {reason}")
    if gpu.pre_ampere:
        text = f"{gpu.index}: older than Ampere, no bfloat16; weights are loaded as float16. To store them so:"
        yield Finding("gpu", "warning", text, PREPARE)


def processor(engine: bool) -> Iterator[Finding]:
    """The processor and what steps a model on it."""
    here = machine.processor()
    yield Finding("cpu", "ok", f"{here.name}, {here.cores} cores, {', '.join(here.sets) or 'no vector units known'}")
    if not engine:
        return
    from vivavoce.engine.kernels.library import library

    kernels = library()
    if kernels is not None:
        yield Finding("engine", "ok", f"CPU: native kernels, {next(iter(kernels.isas))}")
        return
    needed = {"linux": "apt-get install g++", "darwin": "xcode-select --install"}.get(sys.platform)
    missing = "no C++ compiler" if not any(map(shutil.which, ("c++", "g++", "clang++"))) else "see the note above"
    yield Finding("engine", "warning", f"CPU: PyTorch, several times slower than native kernels ({missing})", needed)


def memory() -> Finding:
    here = machine.memory()
    return Finding("memory", "ok", f"{bytes_of(here.available)} of {bytes_of(here.total)} available")


def files(slots: int) -> Finding:
    """Every stream is a socket, which is an open file."""
    limit = machine.open_files()
    if limit is None or limit >= slots + SPARE_FILES:
        return Finding("limits", "ok", f"{limit or 'any number of'} open files")
    return Finding("limits", "warning", f"{limit} open files are few for {slots} streams", "ulimit -n 65536")
