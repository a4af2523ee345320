"""Streams that outlive their server: what another one needs to go on with them, kept outside this process."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

from vivavoce.core import Event, Fault, StreamError
from vivavoce.engine.snapshot import History
from vivavoce.session import SttSession

from .options import StreamOptions

VERSION = version("vivavoce")


class Vault(Protocol):
    """Shared by the servers among which streams move, and trusted by them: luggage is unpickled."""

    async def keep(self, id: str, luggage: bytes) -> None:
        """In the place of what was kept of that stream before."""

    async def fetch(self, id: str) -> bytes | None:
        """The newest; it stays there, since whoever fetches it may have no slot."""


@dataclass(frozen=True)
class Luggage:
    """All that a stream is, but its slot, its connection and its clocks."""

    options: StreamOptions
    session: SttSession
    history: History | None
    sent: list[Any]  # frames without an answer
    events: list[Event]
    first: int  # number of the oldest event
    read: int  # number of the newest one that was read
    received: int  # samples
    asked: int  # flushes
    unanswered: int  # flushes
    steps: int
    created: float

    def pack(self, pieces: tuple[str, ...]) -> bytes:
        """The model's pieces, which every server has, stay here."""
        file = io.BytesIO()
        packer = pickle.Pickler(file, pickle.HIGHEST_PROTOCOL)
        packer.persistent_id = lambda thing: "pieces" if thing is pieces else None  # type: ignore[method-assign]
        packer.dump(VERSION)
        packer.dump(self)
        return file.getvalue()

    @staticmethod
    def unpack(data: bytes, pieces: tuple[str, ...]) -> Luggage:
        """Raises StreamError(UNKNOWN_SESSION) for another version's: its sessions have other parts."""
        unpacker = pickle.Unpickler(io.BytesIO(data))
        unpacker.persistent_load = lambda _: pieces  # type: ignore[method-assign]
        if (packed_by := unpacker.load()) != VERSION:
            why = f"it was kept by vivavoce {packed_by}, and this is vivavoce {VERSION}"
            raise StreamError(Fault.UNKNOWN_SESSION, why)
        luggage = unpacker.load()
        assert isinstance(luggage, Luggage)
        return luggage
