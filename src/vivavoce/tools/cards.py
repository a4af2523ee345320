"""GPUs by name: memory as the driver reports it, compute capability."""

from __future__ import annotations

import re

from vivavoce.core import UnsupportedError

from .gpus import Gpu

MIB = 1 << 20
TAKEN = 660  # MiB that the driver keeps of an idle card; 340 to 659 on those of which it is known
CARDS: dict[str, tuple[int, tuple[int, int]]] = {  # MiB in all
    "RTX 2070": (8192, (7, 5)),
    "RTX 3060": (12288, (8, 6)),
    "T4": (15360, (7, 5)),
    "V100 16 GB": (16384, (7, 0)),
    "A10G": (23028, (8, 6)),
    "L4": (23034, (8, 9)),
    "RTX 3090": (24576, (8, 6)),
    "RTX 4090": (24564, (8, 9)),
    "RTX 5090": (32607, (12, 0)),
    "A100 40 GB": (40960, (8, 0)),
    "L40S": (46068, (8, 9)),
    "RTX A6000": (49140, (8, 6)),
    "H100": (81559, (9, 0)),
    "A100 80 GB": (81920, (8, 0)),
    "H200": (143771, (9, 0)),
    "B200": (183359, (10, 0)),
}


def card(name: str) -> Gpu:
    """Idle. Case and spaces do not count, nor a maker's name before. Raises UnsupportedError."""
    wanted = _plain(name)
    found = [known for known in CARDS if wanted == _plain(known)]
    found = found or [known for known in CARDS if _plain(known).startswith(wanted)]
    if len(found) != 1:
        what = f"is one of {', '.join(found)}" if found else f"is none of {', '.join(CARDS)}; or say --vram-mb"
        raise UnsupportedError(f"--gpu {name!r} {what}")
    total, capability = CARDS[found[0]]
    return Gpu(0, found[0], capability, total * MIB, (total - TAKEN) * MIB, "table")


def _plain(name: str) -> str:
    return re.sub(r"nvidia|geforce|tesla|[\s_-]", "", name.lower())
