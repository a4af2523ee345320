"""One engine process, from its spawning to its end. Another one is another object, with a line of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vivavoce.core import ExitCode, VivavoceError

from . import messages
from .line import Line
from .message import Spec
from .messages import Failed, FromEngine, Ready, Stepped, ToEngine
from .speech_messages import ReadyToSpeak, Spoke
from .watchdog import Watchdog

log = logging.getLogger("vivavoce.engine")
WORKER = "vivavoce.runtime.worker"
_LEVELS = logging.getLevelNamesMapping()


class LoadError(VivavoceError):
    """The process did not become ready; `told` when it said why itself, and another try would end alike."""

    def __init__(self, reason: str, told: bool, exit_code: int = ExitCode.FAILURE) -> None:
        super().__init__(reason)
        self.told, self.exit_code = told, ExitCode(exit_code)


class EngineProcess:
    """The parent's end: messages out in the order of `send`, messages in by the callback `hear`.

    What a process told before it was killed may be lost, and nothing of it arrives afterwards.
    """

    for_all = True  # its streams are all of this process

    def __init__(self, process: Process, line: Line, stall_seconds: float, hear: Callable[[FromEngine], None]) -> None:
        self.pid = process.pid
        self.reason = ""  # why it ended, where more is known than its exit code
        self.stalled = False  # whether it ended because it had not answered
        self.steps = 0
        self._process, self._line, self._hear = process, line, hear
        self._line.hear, self._line.garbled = self._take, self._garbled
        self._watchdog = Watchdog(stall_seconds, self.stall)
        self._ready: asyncio.Future[Ready | ReadyToSpeak] = asyncio.get_running_loop().create_future()
        self._log = asyncio.create_task(self._repeat_log())
        self._ended = asyncio.create_task(self._end())

    @classmethod
    async def spawn(cls, spec: Spec, stall_seconds: float, hear: Callable[[FromEngine], None]) -> EngineProcess:
        """Start a process that loads `spec`."""
        line, its = await Line.open()
        try:
            with its:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", WORKER, str(its.fileno())),
                    stdin=PIPE,  # its end tells the worker that we are gone
                    stdout=DEVNULL,
                    stderr=PIPE,
                    env=_environment(spec),
                    pass_fds=[its.fileno()],
                    start_new_session=True,  # Ctrl-C in a terminal is for us alone
                )
        except BaseException:
            line.close()
            raise
        engine = cls(process, line, stall_seconds, hear)
        engine.send(messages.load(spec))
        return engine

    async def ready(self) -> Ready | ReadyToSpeak:
        """What has been loaded; raises LoadError."""
        return await asyncio.shield(self._ready)

    def send(self, message: ToEngine) -> None:
        """As `Line.send`."""
        self._line.send(message)
        self._watchdog.sent(message)

    def send_frame(self, stream: int, samples: NDArray[np.float32], afresh: bool) -> None:
        """As `Line.send_frame`."""
        self._line.send_frame(stream, samples, afresh)
        self._watchdog.expect(stream)

    def forward(self, parcel: bytes | bytearray | memoryview, audio: bytes | memoryview = b"") -> None:
        """What others have packed, at once; whether it is answered is theirs to watch (`stall`)."""
        self._line.forward(parcel, audio)

    def trial_over(self) -> None:
        """All streams are of this process: nobody else waits for it."""

    def owes(self, stream: int) -> int:
        """Answers that have not come, also when none will any more."""
        return self._watchdog.due(stream)

    @property
    def at_fault(self) -> bool:
        """Whether it ended, or had to be ended, for what it did; a SIGKILL from elsewhere, as of one who needs the
        memory, says nothing of its work."""
        return bool(self.reason) or self._process.returncode not in (None, -signal.SIGKILL)

    async def gone(self) -> str:
        """Wait for the process to end; why it did."""
        return await asyncio.shield(self._ended)

    async def kill(self, reason: str = "") -> None:
        """End it at once. Nothing is heard of it any more."""
        self._mute()
        self._end_process(reason)
        await self.gone()

    def stall(self, seconds: float) -> None:
        """It owes answers and has not given any for so long: it is ended."""
        self.stalled = True
        self._end_process(f"it did not answer for {seconds:.1f} s")

    def _end_process(self, reason: str) -> None:
        self.reason = self.reason or reason
        if self._process.returncode is None:
            self._process.kill()

    def _mute(self) -> None:
        self._hear = lambda _: None
        self._watchdog.stop()

    def _garbled(self) -> None:
        self._end_process("it sent what cannot be taken")

    def _take(self, message: FromEngine) -> None:
        self._watchdog.heard(message)
        match message:
            case Ready() | ReadyToSpeak():
                self._ready.set_result(message)
            case Failed(reason, exit_code):
                self._ready.set_exception(LoadError(reason, told=True, exit_code=exit_code))
            case _:
                self.steps += isinstance(message, Stepped | Spoke)
                self._hear(message)

    async def _repeat_log(self) -> None:
        """The worker's lines, as ours; those of a dying interpreter have no level."""
        assert self._process.stderr
        rest = b""
        while data := await self._process.stderr.read(4096):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                text = line.decode("utf-8", "replace").rstrip()
                level, _, said = text.partition(" ")
                log.log(*((_LEVELS[level], "%s", said) if level in _LEVELS else (logging.WARNING, "%s", text)))
            rest = rest[-4096:]

    async def _end(self) -> str:
        code = await self._process.wait()
        self._mute()
        if not self._ready.done():  # it may have told why
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._line.silent.wait(), 0.5)
        self._line.close()
        await asyncio.gather(self._log, return_exceptions=True)
        assert self._process.stdin
        self._process.stdin.close()
        reason = self.reason or f"it ended with code {code}"
        if not self._ready.done():
            self._ready.set_exception(LoadError(f"the engine's process failed while loading: {reason}", told=False))
        self._ready.exception()  # retrieved, also when nobody waits
        return reason


def _environment(spec: Spec) -> dict[str, str]:
    threads = {} if spec.threads is None else {"OMP_NUM_THREADS": str(spec.threads)}
    return {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1", **threads}
