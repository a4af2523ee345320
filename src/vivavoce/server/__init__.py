"""The server: HTTP and websockets around the runtimes. Importing it is cheap; `run` imports what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vivavoce.settings import ServeSettings


def run(settings: ServeSettings) -> int:
    """Serves until SIGTERM or SIGINT, and returns the exit code: 0 when every stream could finish or was told to go.

    Raises VivavoceError with one clear line when the address, the certificate or a model is at fault.
    """
    from .serving import serve

    return serve(settings)
