"""What is not a usable recording is refused in one clear line that names the file."""

from __future__ import annotations

import errno
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vivavoce import audio
from vivavoce.core import AudioNotFoundError, InvalidAudioError, VivavoceError

from .conftest import encode, tone

Make = Callable[..., bytes]
PROMISING = [".wav", ".flac", ".aiff", ".au", ".mp3", ".ogg", ".opus", ".m4a", ".mp4", ".aac", ".webm"]


def refusal(source: audio.Source, kind: type[VivavoceError] = InvalidAudioError, name: str | None = None) -> str:
    with pytest.raises(kind) as caught:
        audio.load(source, name=name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "missing.wav"

    assert refusal(path, AudioNotFoundError) == f"{path}: no such file"


def test_a_directory(tmp_path: Path) -> None:
    assert refusal(tmp_path, AudioNotFoundError) == f"{tmp_path}: is a directory, not a recording"


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:  # root, who may run this test, is refused nothing
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)

    assert refusal(tmp_path / "a.wav", AudioNotFoundError) == f"{tmp_path / 'a.wav'}: permission denied"


def test_a_name_with_a_nul_byte() -> None:
    assert refusal("a\0.wav", AudioNotFoundError).endswith("cannot be opened (embedded null byte)")


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.touch()

    assert refusal(path) == f"{path}: the file is empty (0 bytes)"


@pytest.mark.parametrize("suffix", [".wav", ".aiff", ".ogg"])
def test_a_file_with_zero_samples(make: Make, suffix: str) -> None:
    assert refusal(make(suffix, seconds=0)) == "stdin: its audio track holds no samples"


def test_a_flac_header_with_nothing_after_it(make: Make) -> None:
    assert "starts like FLAC, but holds no readable audio" in refusal(make(".flac")[:42])


@pytest.mark.parametrize(
    "content",
    [b"x", b"Dear diary,\n" * 900, b"#EXTM3U\n#EXT-X-TARGETDURATION:1\nhttp://localhost/a.ts\n", b"\0" * 50_000]
    + [random.Random(seed).randbytes(100_000) for seed in range(3)],
    ids=["byte", "text", "playlist", "zeros", "noise-0", "noise-1", "noise-2"],
)
def test_what_is_not_audio(content: bytes) -> None:
    assert refusal(content, name="diary.mp3") == "diary.mp3: not audio in any format known here"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("suffix", PROMISING)
def test_a_truncated_file(make: Make, suffix: str, share: float) -> None:
    whole = make(suffix, seconds=6.0, rate=48_000, channels=2)

    assert refusal(whole[: int(len(whole) * share)]).startswith("stdin: truncated: ")


def test_a_truncated_mp4_that_starts_with_its_index(make: Make) -> None:
    whole = make(".m4a", seconds=6.0, movflags="faststart")

    assert refusal(whole[:-5_000]) == "stdin: truncated: it ends inside an MP4 box"


def test_a_truncated_fragmented_mp4(make: Make) -> None:
    whole = make(".m4a", seconds=6.0, movflags="frag_keyframe+empty_moov", frag_duration="500000")

    assert len(audio.load(whole)) > 5.9 * 24_000
    assert refusal(whole[:-5_000]) == "stdin: truncated: it ends inside an MP4 box"


def test_a_wav_written_to_a_pipe_promises_nothing(make: Make) -> None:
    whole = make(".wav")
    unknown = whole[:40] + struct.pack("<I", 0xFFFF_FFFF) + whole[44:]

    assert len(audio.load(unknown[:-24_000])) == 12_000


def test_a_wav_whose_size_counts_its_header_too_is_not_truncated(make: Make) -> None:
    whole = make(".wav")
    sloppy = whole[:40] + struct.pack("<I", len(whole)) + whole[44:]

    assert len(audio.load(sloppy)) == 24_000


def test_an_mp3_with_a_tag_after_its_last_frame_is_not_truncated(make: Make) -> None:
    assert len(audio.load(make(".mp3") + b"TAG" + b"\0" * 125)) == 24_000


def test_an_mp4_with_a_tag_after_its_last_box_is_not_truncated(make: Make) -> None:
    assert len(audio.load(make(".m4a") + b"TAG" + b"title" + b" " * 120)) >= 24_000


def test_a_video_without_sound(make_video: Make) -> None:
    assert refusal(make_video()) == "stdin: no audio track (it holds video)"


@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite")])
def test_samples_that_are_not_numbers(wav: Callable[..., Path], value: float, what: str) -> None:
    samples = np.zeros((40_000, 2), np.float32)
    samples[[12_345, 20_000], 1] = value

    path = wav(samples, 16_000)

    assert refusal(path) == f"{path}: sample 12345 (at 0.772 s) is {what}"


def test_integers_that_were_written_as_floats(wav: Callable[..., Path]) -> None:
    samples = np.zeros(24_000, np.float32)
    samples[12_000:] = 20_000

    path = wav(samples, 24_000)

    assert refusal(path) == (
        f"{path}: sample 12000 (at 0.500 s) is 20000; audio lies between -1 and 1, were integers written as floats?"
    )


@pytest.mark.parametrize("rate", [3, 999, 2_000_000_000])
def test_an_impossible_sample_rate(make: Make, rate: int) -> None:
    whole = make(".wav")

    assert refusal(whole[:24] + struct.pack("<I", rate) + whole[28:]).startswith(f"stdin: a sample rate of {rate} Hz")


def test_a_double_too_large_for_a_float_is_infinite(wav: Callable[..., Path]) -> None:
    samples = np.zeros(2_000)
    samples[7] = 1e300

    assert refusal(wav(samples, subtype="DOUBLE")).endswith("sample 7 (at 0.000 s) is infinite")


@given(
    suffix=st.sampled_from([".wav", ".flac", ".mp3", ".ogg", ".m4a", ".webm"]),
    position=st.floats(0, 1),
    damage=st.binary(min_size=1, max_size=400),
)
@settings(max_examples=150, deadline=None)
def test_damage_anywhere_gives_samples_or_a_clear_error(suffix: str, position: float, damage: bytes) -> None:
    whole = encode(suffix, tone(300, 1.0, 24_000), 24_000)
    at = int(position * len(whole))
    try:
        samples = audio.load(whole[:at] + damage + whole[at + len(damage) :])
    except VivavoceError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert np.isfinite(samples).all()


def test_damage_in_the_middle_is_skipped_with_a_warning(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    whole = make(".aac", seconds=4.0)
    middle = len(whole) // 2

    samples = audio.load(whole[:middle] + b"\x55" * 300 + whole[middle + 300 :])

    assert len(samples) > 3.5 * 24_000
    assert "stdin: skipped" in caplog.text
