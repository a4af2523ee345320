"""The command as a process: terminals, signals, pipes, and how little it loads to print its help."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Command, Ran

Record = Callable[..., Path]
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]m|\x1b\[38;")


def on_a_terminal(command: Command, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, and what a terminal on standard error was shown."""
    terminal, end = pty.openpty()
    process = command.start(*arguments, stderr=end)
    os.close(end)
    shown = b""
    while piece := _read(terminal):
        shown += piece
    os.close(terminal)
    out, _ = process.communicate()
    return process.returncode, out.decode(), shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux says so when the last writer has gone
        return b""


def test_a_long_recording_shows_progress_on_a_terminal(vivavoce: Command, record: Record) -> None:
    record("a.wav", 30.0)
    vivavoce.mood = "slow"

    code, out, shown = on_a_terminal(vivavoce, "transcribe", "a.wav")

    assert code == 0
    assert "of 0:30" in shown
    assert "× real time" in shown
    assert out.startswith("word0 word1")
    assert "\x1b" not in out


def test_a_short_recording_shows_none(vivavoce: Command, record: Record) -> None:
    record("a.wav", 2.0)

    assert on_a_terminal(vivavoce, "transcribe", "a.wav") == (0, "word0 word1 word2 word3\n", "")


def test_no_terminal_no_progress(vivavoce: Command, record: Record) -> None:
    record("a.wav", 30.0)

    assert vivavoce("transcribe", "a.wav", mood="slow").err == ""


def test_errors_have_colour_on_a_terminal_only(vivavoce: Command) -> None:
    vivavoce.variables = {"TERM": "xterm-256color"}

    assert COLOUR.search(on_a_terminal(vivavoce, "transcribe", "missing.wav")[2])
    assert "\x1b" not in vivavoce("transcribe", "missing.wav").err


def test_no_color_is_honoured(vivavoce: Command, record: Record) -> None:
    record("a.wav", 30.0)
    vivavoce.variables = {"TERM": "xterm-256color", "NO_COLOR": "1"}

    shown = on_a_terminal(vivavoce, "transcribe", "missing.wav", "a.wav")[2]

    assert "vivavoce:" in shown
    assert not COLOUR.search(shown)


def test_an_interrupt_ends_it_with_one_line(vivavoce: Command, record: Record) -> None:
    record("a.wav", 1.0)
    record("b.wav", 600.0)
    vivavoce.mood = "slow"

    process = vivavoce.start("transcribe", "a.wav", "b.wav", "--format", "jsonl")
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(0.5)  # b.wav is open by now: Python warns of a file whose opening is interrupted
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()

    assert b'"a.wav"' in first
    assert err == b"vivavoce: interrupted\n"
    assert process.returncode == 130


def test_a_reader_that_has_seen_enough_ends_it_quietly(vivavoce: Command, record: Record) -> None:
    for number in range(20):
        record(f"talks/{number:02}.wav", 30.0)

    process = vivavoce.start("transcribe", "talks", "--format", "jsonl")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()

    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")  # noqa: PTH110
@pytest.mark.parametrize(
    "arguments", [("transcribe", "a.wav"), ("transcribe", "a.wav", "--format", "json"), ("--help",)]
)
def test_a_full_disk_is_one_line(vivavoce: Command, record: Record, arguments: tuple[str, ...]) -> None:
    record("a.wav")

    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [*vivavoce.arguments, *arguments], cwd=vivavoce.folder, env=vivavoce.environment, stdout=full,
            stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip

    assert done.stderr == "vivavoce: standard output cannot be written (No space left on device)\n"
    assert done.returncode == 1


def test_a_locale_without_utf8_does_not_matter(vivavoce: Command, record: Record) -> None:
    record("Zoë.wav", 0.5)
    vivavoce.variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    assert '"file": "Zoë.wav"' in vivavoce("transcribe", ".", "--format", "jsonl").out


def test_a_file_name_that_is_not_utf8(vivavoce: Command, record: Record, tmp_path: Path) -> None:
    record("a.wav", 0.5).rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav"))

    ran = vivavoce("transcribe", ".", "--format", "jsonl")

    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out)["file"] == r"\xff.wav"


def test_who_waits_for_the_kernels_to_be_compiled_is_told(tmp_path: Path) -> None:
    code = (
        "import logging; from vivavoce.cli.console import set_up; set_up()\n"
        "from vivavoce.engine.kernels import build, library\n"
        f"library._folders = lambda: [library.Path({str(tmp_path)!r})]\n"
        "def build_nothing(folder): raise build.NoCompilerError('none')\n"
        "build.build = build_nothing; library.library()\n"
        "logging.getLogger('vivavoce.session').info('chatter')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == [
        f"vivavoce: Compiling the CPU kernels into {tmp_path}; this happens once",
        "vivavoce: No native CPU kernels, PyTorch's slower ones instead: none",
    ]


def test_the_version(vivavoce: Command) -> None:
    from vivavoce import __version__

    assert vivavoce("--version") == Ran(0, f"vivavoce {__version__}\n", "")


def test_it_is_a_module_too(vivavoce: Command) -> None:
    vivavoce.arguments = [sys.executable, "-m", "vivavoce"]

    assert vivavoce("--version").out.startswith("vivavoce ")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["transcribe", "--help"], ["models", "--help"]])
def test_help_explains_without_loading_the_slow_libraries(arguments: list[str]) -> None:
    script = (
        "import sys; from vivavoce.cli import main; code = main(sys.argv[1:]);"
        "slow = {'torch', 'numpy', 'av', 'soxr', 'huggingface_hub'} & set(sys.modules);"
        "sys.exit(str(slow) if slow else code)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: vivavoce" in done.stdout


def test_every_exit_code_is_in_the_help(vivavoce: Command) -> None:
    from vivavoce.core import ExitCode

    shown = vivavoce("--help").out

    assert all(f"{code.value} " in shown for code in ExitCode)
