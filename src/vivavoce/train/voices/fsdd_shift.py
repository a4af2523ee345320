"""Shifts of the Free Spoken Digit speakers, apart so that leaving those people out is one switch."""

from __future__ import annotations

from collections.abc import Iterator

from ..corpus import Job, Request
from .shift import shifts


def jobs(request: Request) -> Iterator[Job]:
    """One shift of each training clip."""
    return shifts(request, "fsdd", 1, "fsdd_shift")
