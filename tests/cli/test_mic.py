"""`vivavoce mic`: its pure parts with a clock of the test's own, and the command with a recording for a microphone."""

from __future__ import annotations

import io
import math
import os
import pty
import signal
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from vivavoce.audio.devices import Device, choose
from vivavoce.audio.level import Level, dbfs, share
from vivavoce.cli.livetext import LiveText
from vivavoce.cli.mic import pcm16
from vivavoce.cli.screen import Screen, Watch
from vivavoce.core import (
    SAMPLE_RATE,
    ExitCode,
    Flushed,
    Token,
    TurnEnded,
    UnsupportedError,
    Vad,
    WordStarted,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.flac"


def tone(seconds: float, amplitude: float) -> np.ndarray:
    return (amplitude * np.sin(np.arange(round(seconds * SAMPLE_RATE)) * 0.3)).astype(np.float32)


def test_the_meter_reads_a_sine_silence_and_full_scale() -> None:
    level = Level()
    assert (level.rms, level.peak) == (-math.inf, -math.inf)
    level.update(tone(2, 1.0))
    assert level.rms == pytest.approx(-3.01, abs=0.05)
    assert level.peak == pytest.approx(0, abs=0.05)
    level.update(np.zeros(SAMPLE_RATE, np.float32))
    assert level.rms < -40
    assert level.peak == pytest.approx(-20, abs=0.1)  # comes down by 20 dB a second
    before = level.clipped
    level.update(np.ones(10, np.float32))
    assert level.clipped == before + 10
    assert (share(-70), share(-30), share(0), share(-math.inf)) == (0, 0.5, 1, 0)
    assert dbfs(0.1) == pytest.approx(-20)


def test_the_meter_does_not_depend_on_the_cut() -> None:
    whole, pieces = Level(), Level()
    sound = tone(1, 0.3)
    whole.update(sound)
    for piece in np.split(sound, range(240, len(sound), 240)):
        pieces.update(piece)
    assert (whole.rms, whole.peak) == pytest.approx((pieces.rms, pieces.peak))


def test_pieces_are_pending_until_their_word_is_known_or_time_passes() -> None:
    text = LiveText()
    text.add(Token("hel", 0.0), now=0.0)
    text.add(Token("lo", 0.1), now=0.1)
    assert text.current(0.2) == ("", "hello")
    text.add(WordStarted("hello", 0.0, 0.9), now=0.5)
    text.add(Token(" you", 0.5), now=0.5)
    assert text.current(0.5) == ("hello", " you")
    assert text.current(2.2) == ("hello", " you")
    assert text.current(2.4) == ("hello you", "")


def test_a_turn_ends_a_line_and_a_flush_settles() -> None:
    text = LiveText()
    for event in (
        Token("one", 0),
        TurnEnded(1),
        Token(" two", 2),
        Flushed(1),
        TurnEnded(3),
        TurnEnded(4),
        Token(" 3", 5),
    ):
        text.add(event, now=0.0)
    assert text.turns == ["one", "two"]
    assert text.current(0.0) == ("", "3")
    assert text.whole() == "one\ntwo\n3"


def test_a_stall_is_sound_without_words() -> None:
    watch = Watch(begun=0.0)
    assert not watch.stalled(100)
    watch.sound = 99
    assert watch.stalled(100)
    watch.word = 90
    assert not watch.stalled(100)
    watch.sound = 104
    assert watch.stalled(105.5)
    assert not watch.stalled(109.5)  # the sound has stopped


def test_the_screen_shows_text_level_and_pause() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, color_system=None)
    screen = Screen(console, "ws://host", 0.0)
    screen.tell(Token("hello", 0.0), 1.0)
    screen.tell(Vad(0.08, (0.1, 0.2, 0.75, 0.9)), 1.0)
    level = Level()
    level.update(tone(1, 0.5))
    screen.hear(level, 1.0)
    screen.remark("no connection: gone")
    with console.capture() as shown:
        console.print(screen.render(3.0))
    text = shown.get()
    for part in ("ws://host", "00:00:03", "hello", "0.75", "dBFS", "no connection: gone", "q or Ctrl+C"):
        assert part in text
    screen._live.stop()  # type: ignore[union-attr]


DEVICES = [Device(0, "Built-in Mic", 2, 48_000, False), Device(3, "USB Headset", 1, 16_000, True)]


def test_which_device() -> None:
    assert choose(DEVICES, None).index == 3
    assert choose(DEVICES, "0").index == 0
    assert choose(DEVICES, "usb").index == 3
    with pytest.raises(UnsupportedError, match=r"--device 7 is no input; there are 0 \(Built-in Mic\), 3"):
        choose(DEVICES, "7")
    with pytest.raises(UnsupportedError, match="fits several"):
        choose([*DEVICES, Device(4, "USB Camera", 1, 16_000, False)], "usb")
    with pytest.raises(UnsupportedError, match="no microphone"):
        choose([], None)


def test_what_is_too_loud_does_not_wrap() -> None:
    assert np.frombuffer(pcm16(np.array([-3, 0, 3], np.float32)), "<i2").tolist() == [-32767, 0, 32767]


# --- the command ---


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "vivavoce", "mic", "--input", str(EXAMPLE), *map(str, arguments)]


def test_in_a_pipe_the_words_of_a_model_in_this_process(tmp_path: Path) -> None:
    kept = tmp_path / "kept.wav"
    ran = subprocess.run(command("--duration", "6", "--save-audio", kept), capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.split()[:10] == ["zero", "two", "zero", "seven", "nine", "four", "six", "zero", "nine", "five"]
    assert "\x1b" not in ran.stdout
    with wave.open(str(kept)) as wav:
        assert (wav.getframerate(), wav.getsampwidth(), wav.getnchannels()) == (SAMPLE_RATE, 2, 1)
        assert wav.getnframes() == 6 * SAMPLE_RATE


def test_an_interrupt_flushes_and_leaves_the_transcript() -> None:
    process = subprocess.Popen(command("--timestamps"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert first == "[00:00:00] zero\n"
    assert out.startswith("[00:00:01] two\n")
    assert (process.returncode, err) == (0, "")


def test_q_ends_it_on_a_terminal() -> None:
    terminal, end = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(command(), stdin=end, stdout=end, stderr=end, env=environment)
    os.close(end)
    shown = ""
    while "seven" not in shown:
        shown += os.read(terminal, 65_536).decode(errors="replace")
    os.write(terminal, b"q")
    rest = ""
    try:
        while piece := os.read(terminal, 65_536):
            rest += piece.decode(errors="replace")
    except OSError:  # the last writer has gone
        pass
    os.close(terminal)
    assert process.wait(30) == 0
    assert "dBFS" in shown
    assert "zero two zero seven" in rest.splitlines()[-1] + rest.splitlines()[-2]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--input", "missing.wav"], ExitCode.FILE_NOT_FOUND, "missing.wav: no such file"),
        (["--local", "--url", "ws://h"], ExitCode.USAGE, "--local is without"),
        (["--url", "ws://127.0.0.1:9"], ExitCode.FAILURE, "connection refused: nothing listens there"),
        (["--url", "ws://h", "--model", "x"], ExitCode.USAGE, "--model is for"),
    ],
)
def test_what_goes_wrong_is_one_line(arguments: list[str], code: int, message: str) -> None:
    ran = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (code, "")
    assert message in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
