"""A bar on the terminal: how much audio has been heard, and how fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from .console import stderr

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LONG = 20.0  # seconds of audio that are worth a bar


class Bar:
    """Counts seconds of audio and finished files; shows nothing unless it was given a display."""

    def __init__(self, display: Progress | None, files: int, total: float | None) -> None:
        self._display, self._files = display, files
        self._started: float | None = None
        self._heard = 0.0
        self._done = 0
        self._task: TaskID | None = None
        if display is not None:
            self._task = display.add_task("", total=total, heard="0:00", speed="", files=self._count())

    def advance(self, seconds: float) -> None:
        """That much more audio has been heard."""
        now = perf_counter()
        self._started = now if self._started is None else self._started
        self._heard += seconds
        if self._display is not None and self._task is not None:
            elapsed = now - self._started
            speed = f"{self._heard / elapsed:.1f}× real time" if elapsed > 0.5 else ""
            self._display.update(self._task, completed=self._heard, heard=_minutes(self._heard), speed=speed)

    def file_done(self) -> None:
        self._done += 1
        if self._display is not None and self._task is not None:
            self._display.update(self._task, files=self._count())

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """The bar leaves the screen while something else is printed: it may be the same terminal."""
        if self._display is None:
            yield
            return
        self._display.stop()
        try:
            yield
        finally:
            self._display.start()

    def _count(self) -> str:
        return f"{self._done}/{self._files} files" if self._files > 1 else ""


@contextmanager
def bar(files: int, total: float | None) -> Iterator[Bar]:
    """A bar for `total` seconds of audio in so many files, if a person is watching and it takes long."""
    if not stderr().is_terminal or (total is not None and total < LONG):
        yield Bar(None, files, total)
        return
    with _display(total) as display:
        yield Bar(display, files, total)


def _display(total: float | None) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn

    of = "" if total is None else f" of {_minutes(total)}"
    return Progress(
        BarColumn(),
        TextColumn("{task.fields[heard]}" + of),
        TextColumn("{task.fields[speed]}"),
        TextColumn("{task.fields[files]}"),
        console=stderr(),
        transient=True,
        redirect_stdout=False,  # rich would move results to standard error
        redirect_stderr=False,
    )


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def training() -> Iterator[Callable[[str, int, int, dict[str, float]], None]]:
    """A bar for the steps of a training run, with its losses; a line every 100 steps where nobody watches."""
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[losses]}"), console=stderr()) as display:
        tasks: dict[str, TaskID] = {}

        def advance(stage: str, step: int, steps: int, losses: dict[str, float]) -> None:
            text = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
            if stage not in tasks:
                tasks[stage] = display.add_task(stage, total=steps, losses="")
            display.update(tasks[stage], completed=step, losses=text)
            if not stderr().is_terminal and step % 100 == 0:
                stderr().print(f"{stage} {step}/{steps}  {text}")

        yield advance
