"""What is written is what was given, to the last sample, into files and into pipes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from vivavoce import audio
from vivavoce.audio.writer import FORMATS, Writer, format_of, save
from vivavoce.core import SAMPLE_RATE, UnsupportedError, VivavoceError

TONE = (0.3 * np.sin(np.arange(2 * SAMPLE_RATE + 777) * 0.05)).astype(np.float32)
INTO_A_PIPE = """
import sys, numpy as np
from vivavoce.audio.writer import Writer
samples = np.frombuffer(sys.stdin.buffer.read(), np.float32)
with Writer(sys.stdout.buffer, sys.argv[1], "-") as writer:
    for piece in np.split(samples, range(1_920, len(samples), 1_920)):
        writer.write(piece)
"""


@pytest.mark.parametrize("name", ["said.wav", "said.flac", "said.opus", "said.ogg"])
@pytest.mark.parametrize("cut", [1_920, 1, 100_000])
def test_a_file_holds_every_sample_however_it_was_cut(tmp_path: Path, name: str, cut: int) -> None:
    samples = TONE if cut > 1 else TONE[:2_001]
    with Writer.create(tmp_path / name) as writer:
        for piece in np.split(samples, range(cut, len(samples), cut)):
            writer.write(piece)
    read = audio.load(tmp_path / name)
    assert (writer.samples, len(read)) == (len(samples), len(samples))
    if name.endswith(("wav", "flac")):
        assert np.abs(read - samples).max() <= 1 / 32_767
    elif cut > 1:
        assert np.corrcoef(read, samples)[0, 1] > 0.99


@pytest.mark.parametrize("format", FORMATS)
def test_a_pipe_gets_every_sample(format: str) -> None:
    done = subprocess.run([sys.executable, "-c", INTO_A_PIPE, format], input=TONE.tobytes(), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    if format == "pcm_f32le":
        np.testing.assert_array_equal(np.frombuffer(done.stdout, "<f4"), TONE)
    elif format == "pcm_s16le":
        assert np.abs(np.frombuffer(done.stdout, "<i2") / 32_767 - TONE).max() <= 1 / 32_767
    elif format in ("mulaw", "alaw"):  # as they are, a byte a sample
        assert len(done.stdout) == len(TONE)
    elif format in ("mp3", "aac"):  # whole frames, and what the encoder is behind
        assert 0 <= len(audio.load(done.stdout)) - len(TONE) < 4_096
    else:
        assert len(audio.load(done.stdout)) == len(TONE)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_another_rate_is_as_long_and_sounds_the_same(format: str, rate: int) -> None:
    file = io.BytesIO()
    with Writer(file, format, "x", rate=rate) as writer:  # type: ignore[arg-type]
        for piece in np.split(TONE, range(1_920, len(TONE), 1_920)):
            writer.write(piece)
    seconds = len(TONE) / SAMPLE_RATE
    widths = {"pcm_s16le": 2, "pcm_f32le": 4, "mulaw": 1, "alaw": 1}
    if format in widths:
        assert len(file.getvalue()) == pytest.approx(widths[format] * rate * seconds, abs=16)
    else:
        read = audio.load(file.getvalue())
        assert len(read) / SAMPLE_RATE == pytest.approx(seconds, abs=0.25)
        assert np.abs(read[4_800:36_000]).max() == pytest.approx(0.3, abs=0.06)


def test_a_rate_that_the_format_does_not_have() -> None:
    with pytest.raises(UnsupportedError, match="opus has no sample rate of 44100 Hz; it has 8000, 12000"):
        Writer(io.BytesIO(), "opus", "x", rate=44_100)


@pytest.mark.parametrize("format", ["wav", "opus", "flac", "mp3", "aac"])
def test_audio_leaves_while_more_is_still_to_come(format: str) -> None:
    read, write = os.pipe()
    got: list[bytes] = []
    with os.fdopen(read, "rb", buffering=0) as source, os.fdopen(write, "wb") as sink:
        writer = Writer(sink, format, "pipe")  # type: ignore[arg-type]
        for piece in np.split(TONE[:SAMPLE_RATE], range(1_920, SAMPLE_RATE, 1_920)):
            writer.write(piece)
        os.set_blocking(read, False)
        got.append(source.read(1 << 20))
        os.set_blocking(read, True)
        rest = threading.Thread(target=lambda: got.append(source.read()))
        rest.start()
        writer.close()
        sink.close()
        rest.join()
    assert len(got[0]) > 3 * len(got[1])


def test_what_is_too_loud_is_clamped(tmp_path: Path) -> None:
    save(tmp_path / "loud.wav", np.array([-3, 0, 3], np.float32))
    np.testing.assert_allclose(audio.load(tmp_path / "loud.wav"), [-1, 0, 1], atol=1e-4)


def test_a_name_that_tells_no_format_and_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    assert format_of(Path("A.WAV")) == "wav"
    with pytest.raises(UnsupportedError, match=r"said.mp5: the name tells no format .* \(.wav"):
        save("said.mp5", TONE)
    with pytest.raises(VivavoceError, match=r"x.wav: cannot be written \(No such file or directory\)"):
        save(tmp_path / "missing" / "x.wav", TONE)
    with pytest.raises(VivavoceError, match=r"cannot be written \(No space left on device\)"):
        save("/dev/full", TONE, "pcm_f32le")
    with pytest.raises(VivavoceError, match=r"cannot be written \(No space left on device\)"):
        save("/dev/full", TONE, "flac")
