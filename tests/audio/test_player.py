"""Playback, with a sink in the place of the library's speaker: what was given is heard, once, to the end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vivavoce.audio.devices import choose, devices
from vivavoce.audio.player import Player
from vivavoce.core import FRAME_SIZE, SAMPLE_RATE, UnsupportedError

SINK = Path(__file__).parents[1] / "speaker"
FRAMES = np.split((0.3 * np.sin(np.arange(24 * FRAME_SIZE) * 0.05)).astype(np.float32), 24)


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of the speaker."""
    monkeypatch.syspath_prepend(SINK)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setenv("SPEAKER_FILE", str(tmp_path / "heard"))
    yield tmp_path / "heard"
    sys.modules.pop("sounddevice", None)


def speaker(**options: float) -> Player:
    return Player(choose(devices("output"), None, "output"), **options)


def left_channel(heard: Path) -> np.ndarray:
    both = np.fromfile(heard, np.float32).reshape(-1, 2)
    np.testing.assert_array_equal(both[:, 0], both[:, 1])
    return both[:, 0]


async def spoken(player: Player) -> None:
    async with player:
        for frame in FRAMES:
            await player.play(frame)
        await player.drain()


def test_what_is_played_is_heard_to_the_last_sample(heard: Path) -> None:
    asyncio.run(spoken(player := speaker()))
    sound = np.trim_zeros(left_channel(heard))
    np.testing.assert_array_equal(sound, np.trim_zeros(np.concatenate(FRAMES)))
    assert player.gaps == 0


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_a_device_has_its_own_sample_rate(heard: Path, monkeypatch: pytest.MonkeyPatch, rate: int) -> None:
    monkeypatch.setenv("SPEAKER_RATE", str(rate))
    asyncio.run(spoken(speaker()))
    sound = left_channel(heard)
    lasted = np.flatnonzero(np.abs(sound) > 0.02)
    expected = len(FRAMES) * FRAME_SIZE * rate / SAMPLE_RATE
    assert lasted[-1] - lasted[0] == pytest.approx(expected, abs=rate / 200)


def test_nothing_is_heard_before_there_is_a_reserve_or_an_end(heard: Path) -> None:
    async def run() -> tuple[int, int]:
        async with speaker(prebuffer=0.2) as player:
            await player.play(FRAMES[0])
            await asyncio.sleep(0.1)
            early = np.count_nonzero(left_channel(heard))
            await player.drain()
        return early, np.count_nonzero(left_channel(heard))

    assert asyncio.run(run()) == (0, np.count_nonzero(FRAMES[0]))


def test_audio_that_comes_too_slowly_is_a_gap_and_none_of_it_is_lost(heard: Path) -> None:
    async def run() -> int:
        async with speaker(prebuffer=0.08) as player:
            for frame in FRAMES[:4]:
                await player.play(frame)
                await asyncio.sleep(0.1)
            await player.drain()
            return player.gaps

    assert asyncio.run(run()) == 4
    sound = left_channel(heard)
    np.testing.assert_array_equal(sound[sound != 0], (given := np.concatenate(FRAMES[:4]))[given != 0])


def test_clear_is_silence_at_once(heard: Path) -> None:
    async def run() -> None:
        async with speaker(prebuffer=10.0) as player:
            await player.play(FRAMES[0])
            player.clear()
            await player.play(FRAMES[5])
            await player.drain()

    asyncio.run(run())
    np.testing.assert_array_equal(np.trim_zeros(left_channel(heard)), np.trim_zeros(FRAMES[5]))


def test_more_than_ten_seconds_are_waited_for(heard: Path) -> None:
    async def run() -> None:
        async with speaker(prebuffer=100.0) as player:
            async with asyncio.timeout(30):
                for _ in range(6):
                    await player.play(np.ones(2 * SAMPLE_RATE - 1, np.float32))

    with pytest.raises(TimeoutError):  # it never begins: the reserve is larger than what may wait
        asyncio.run(asyncio.wait_for(run(), 1.0))


def test_what_cannot_be_played_on_is_said(heard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [device.name for device in devices("output")] == ["Desk speaker"]
    with pytest.raises(UnsupportedError, match="no speaker: this machine has no output device"):
        choose([], None, "output")
    monkeypatch.setenv("SPEAKER_BROKEN", "1")
    with pytest.raises(UnsupportedError, match=r"Desk speaker: cannot be played on \(device unavailable\)"):
        asyncio.run(spoken(speaker()))
