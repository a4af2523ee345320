"""The engine's process: `python -m vivavoce.runtime.worker NUMBER`, of the socket to its parent.

It and what it loads are the only parts of the runtime that import torch.
It obeys its parent alone: it ends when the parent closes its standard input or dies, and ignores SIGINT and SIGTERM.
A step that raises ends it; the parent begins another and gives it every stream's snapshot.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
from typing import Any

from vivavoce.core import ExitCode, VivavoceError

from .link import Link
from .messages import Failed, Load, Ready
from .orphan import end_with_parent
from .servant import Servant
from .speech_messages import LoadSpeech, ReadyToSpeak

log = logging.getLogger("vivavoce.engine")


def main() -> None:
    """Load what the first message says, tell whether that went well, then serve."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    faulthandler.enable()
    end_with_parent()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    logging.captureWarnings(True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request to the hub
    link = Link(int(sys.argv[1]))
    ((first, _),) = link.receive(None)
    assert isinstance(first, Load | LoadSpeech), f"the first message must be Load, got {type(first).__name__}"
    try:
        servant, ready = _speaking(first, link) if isinstance(first, LoadSpeech) else _hearing(first, link)
    except Exception as error:
        if not isinstance(error, VivavoceError):  # whose one line is made for users
            log.exception("The model cannot be loaded")
        lines = str(error).splitlines() or [type(error).__name__]
        link.send([Failed(lines[0], error.exit_code if isinstance(error, VivavoceError) else ExitCode.FAILURE)])
        link.close()
        sys.exit(1)
    link.send([ready])
    try:
        servant.run()
    except Exception:
        log.exception("The engine failed; the process ends")
        os._exit(1)  # at once: neither sockets nor devices may hold up the next one


def _hearing(message: Load, link: Link) -> tuple[Servant[Any], Ready]:
    from .hearing import Hearing
    from .loading import load

    engine, info, steps = load(message.spec)
    return Hearing(engine, link, steps), Ready(info, steps)


def _speaking(message: LoadSpeech, link: Link) -> tuple[Servant[Any], ReadyToSpeak]:
    from .speaking import Speaking
    from .speech_loading import load

    engine, cast, info, steps = load(message.spec)
    return Speaking(engine, cast, link, steps), ReadyToSpeak(info, steps)


if __name__ == "__main__":
    main()
