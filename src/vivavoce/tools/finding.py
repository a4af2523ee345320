"""One thing that was looked at: how it is, and what to type where it is not well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "warning", "fault"]


@dataclass(frozen=True)
class Finding:
    """`fault`: it will not work as it is; `warning`: it will, but worse than it could; `note`: good to know."""

    topic: str
    state: State
    text: str
    advice: str | None = None  # a command to paste


def bytes_of(count: int) -> str:
    """1234567 bytes are 1.2 MB."""
    if count < 1_000_000:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:.1f} MB" if count < 1_000_000_000 else f"{count / 1e9:.1f} GB"
