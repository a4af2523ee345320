"""Where a running process of Python spends its time, as a picture: py-spy, of which the process knows nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

from vivavoce.core import VivavoceError

from .programs import program

RATE = 100  # samples a second
PATIENCE = 60.0  # seconds, for the picture


class Flame:
    """One flame graph. Raises VivavoceError where there is no py-spy, or no folder for the picture."""

    def __init__(self, process: int, seconds: float, file: Path) -> None:
        spy = program("py-spy")
        if spy is None:
            raise VivavoceError("a flame graph needs py-spy: pip install py-spy")
        if not file.parent.is_dir():
            raise VivavoceError(f"the flame graph cannot be written: there is no folder {file.parent}")
        self._command = [
            spy, "record", "--nonblocking", "--function", "--rate", str(RATE), "--duration", str(round(seconds)),
            "--output", str(file), "--pid", str(process),
        ]  # fmt: skip
        self._running: subprocess.Popen[str] | None = None

    def begin(self) -> None:
        """From now on, for the seconds that were asked for."""
        self._running = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def end(self) -> None:
        """Waits until the picture is there. Raises VivavoceError."""
        assert self._running, "end comes after begin"
        try:
            _, said = self._running.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._running.kill()
            raise VivavoceError(f"py-spy has not written the flame graph within {PATIENCE:g} s") from None
        if self._running.returncode:
            why = next(iter(said.strip().splitlines()), f"exit code {self._running.returncode}")
            raise VivavoceError(f"py-spy made no flame graph: {why}")
